#!/usr/bin/env python3
"""Writes what the image is made of, as CycloneDX JSON: crates, page, Debian packages.

It reads what the builders say themselves: `cargo metadata`, package-lock.json, dpkg. Two builds of
the same inputs give the same text: it has no times and no random numbers.
"""

import argparse
import hashlib
import json
import subprocess
import uuid
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crates", type=Path, help="output of `cargo metadata --format-version 1`")
    parser.add_argument("--page", type=Path, help="package-lock.json of the page")
    parser.add_argument("--debian", action="store_true", help="Debian packages of this system")
    parser.add_argument("--other", action="append", default=[], metavar="TYPE:NAME:VERSION")
    arguments = parser.parse_args()
    components, product = [], None
    if arguments.crates:
        product, crates = read_crates(json.loads(arguments.crates.read_text()))
        components += crates
    if arguments.page:
        components += read_page(json.loads(arguments.page.read_text()))
    if arguments.debian:
        components += read_debian()
    components += [component(*other.split(":")) for other in arguments.other]
    print(json.dumps(document(product, components), indent=1, sort_keys=True))


def document(product, components):
    by_reference = {one["bom-ref"]: one for one in components}
    components = [by_reference[reference] for reference in sorted(by_reference)]
    digest = hashlib.sha256(json.dumps(components, sort_keys=True).encode()).digest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": uuid.UUID(bytes=digest[:16], version=4).urn,
        "version": 1,
        "metadata": {"component": {**product, "type": "application"}} if product else {},
        "components": components,
    }


def component(kind, name, version, licenses=None):
    reference = f"pkg:{kind}/{name.replace('@', '%40')}@{version}"
    found = {"type": "library", "name": name, "version": version}
    found["purl"] = found["bom-ref"] = reference
    if licenses:
        found["licenses"] = [{"expression": licenses}]
    return found


def read_crates(metadata):
    """What is linked into the program: not what only its tests or builds need."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    seen, todo = set(), [root]
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_linked and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    return crate(packages[root]), [crate(packages[name]) for name in seen]


def crate(package):
    return component("cargo", package["name"], package["version"], package.get("license"))


def read_page(lock):
    for path, package in lock["packages"].items():
        if path and not package.get("dev") and not package.get("link"):
            name = path.rpartition("node_modules/")[2]
            yield component("npm", name, package["version"], package.get("license"))


def read_debian():
    query = ["dpkg-query", "--show", "--showformat", "${Package}\t${Version}\n"]
    listed = subprocess.run(query, check=True, stdout=subprocess.PIPE, text=True)
    for line in listed.stdout.splitlines():
        yield component("deb/debian", *line.split("\t"))


if __name__ == "__main__":
    main()
