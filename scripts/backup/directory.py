# /// script
# requires-python = ">=3.9"
#
# [tool.dropcron]
# # Without a schedule it runs only when asked. With your own directories below, add:
# # schedule = "30 1 * * *"
# timeout = "2h"
# concurrency_group = "backup"
# args = { source = "..", destination = "/var/tmp/dropcron-backup", keep = 7 }
# description = "A verified archive of a directory, with its checksum"
# tags = ["backup"]
# ///
"""A backup that was read back before it counts.

An archive gets its name only after every file in it was compared with what went in. Years later
the checksum in the run log tells whether the archive is still the one that was written.

`source` is absolute, or relative to this file: `..` is the directory of these scripts. Give every
source a destination of its own.
"""

import glob
import hashlib
import os
import tarfile
import time
from pathlib import Path

CHUNK_BYTES = 1024**2
DIGIT = "[0-9]"


def run(source, destination, keep=7):
    if keep < 1:
        raise ValueError(f"`keep` must be at least 1, it is {keep}")
    source = (Path(__file__).parent / source).resolve(strict=True)
    archive = new_archive(source, prepared(destination, source))
    partial = archive.with_suffix(".partial")
    try:
        written = write(partial, source)
        verify(partial, written)
        partial.rename(archive)
    finally:
        partial.unlink(missing_ok=True)
    return {
        "archive": str(archive),
        "sha256": sha256_of(archive),
        "archive_bytes": archive.stat().st_size,
        "files": len(written),
        "removed": remove_old(archive.parent, source.name, keep),
    }


def prepared(destination, source):
    destination = Path(destination).resolve()
    if destination == source or source in destination.parents:
        raise ValueError(f"the destination {destination} is inside the source {source}")
    destination.mkdir(mode=0o700, parents=True, exist_ok=True)
    return destination


def new_archive(source, destination):
    return destination / time.strftime(f"{source.name}-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime())


def write(partial, source):
    """Returns the checksum of every file as it went in: it may change before it is read again."""
    written = {}
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for path in sorted(source.rglob("*")):
                add(archive, path, str(path.relative_to(source.parent)), written)
        file.flush()
        os.fsync(file.fileno())
    return written


def add(archive, path, name, written):
    member = archive.gettarinfo(path, arcname=name)
    if member is None:
        print(f"left out: {path} is a socket")
    elif member.isreg():
        with path.open("rb") as file:
            reader = HashingReader(file)
            archive.addfile(member, reader)
        written[name] = reader.checksum.hexdigest()
    else:
        archive.addfile(member)


class HashingReader:
    def __init__(self, file):
        self.file = file
        self.checksum = hashlib.sha256()

    def read(self, size):
        chunk = self.file.read(size)
        self.checksum.update(chunk)
        return chunk


def verify(partial, written):
    with tarfile.open(partial, mode="r:gz") as archive:
        files = (member for member in archive if member.isreg())
        read_back = {file.name: sha256(archive.extractfile(file)) for file in files}
    if read_back != written:
        wrong = sorted(name for name in written if read_back.get(name) != written[name])
        raise RuntimeError(f"the archive does not hold what was written to it: {wrong[:10]}")


def remove_old(destination, name, keep):
    pattern = f"{glob.escape(name)}-{DIGIT * 8}T{DIGIT * 6}Z.tar.gz"
    old = sorted(destination.glob(pattern), reverse=True)[keep:]
    for archive in old:
        print(f"remove {archive}")
        archive.unlink()
    return len(old)


def sha256_of(path):
    with path.open("rb") as file:
        return sha256(file)


def sha256(file):
    checksum = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        checksum.update(chunk)
    return checksum.hexdigest()
