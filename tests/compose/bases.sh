#!/usr/bin/env bash
# Makes the base images of the compose test: this machine can pull none. What the public images are made of, from the same
# distribution: Debian by debootstrap, this machine's Rust and Node.js, Debian's Postgres behind the interface of the official
# image.
#
#   tests/compose/bases.sh        makes what is missing: dropcron-test/{debian,rust,node,postgres}
#
# Certificates that this machine trusts are trusted in them too, so that builds reach the registries by way of it.

set -euo pipefail
cd "$(dirname "$0")"

SUITE=${DROPCRON_TEST_SUITE:-trixie}
DEBIAN_MIRROR=${DROPCRON_TEST_DEBIAN_MIRROR:-http://deb.debian.org/debian}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

main() {
    has debian || make_debian
    has rust || make_rust
    has node || make_node
    has postgres || docker build --quiet --tag dropcron-test/postgres postgres
}

has() {
    docker image inspect "dropcron-test/$1" >/dev/null 2>&1
}

make_debian() {
    echo "Making dropcron-test/debian ($SUITE)"
    debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$work/debian" "$DEBIAN_MIRROR" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
    rm -rf "$work/debian"/var/cache/apt/archives/*.deb "$work/debian"/var/lib/apt/lists/*
    if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
        cp /usr/local/share/ca-certificates/*.crt "$work/debian/usr/local/share/ca-certificates/"
        chroot "$work/debian" update-ca-certificates >/dev/null 2>&1
    fi
    # Clients that bring certificates of their own are told of the system's.
    tar -C "$work/debian" -c . | docker import --change 'CMD ["bash"]' \
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' \
        --change 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' \
        --change 'ENV CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt' \
        - dropcron-test/debian >/dev/null
    rm -rf "$work/debian"
}

make_rust() {
    local toolchain
    echo "Making dropcron-test/rust"
    toolchain=$(rustc --print sysroot)
    mkdir -p "$work/rust/toolchain"
    cp -a "$toolchain/bin" "$toolchain/lib" "$work/rust/toolchain/"
    rm -rf "$work"/rust/toolchain/lib/rustlib/{src,wasm*}
    cat >"$work/rust/Dockerfile" <<'DOCKERFILE'
FROM dropcron-test/debian
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY toolchain /usr/local
DOCKERFILE
    docker build --quiet --tag dropcron-test/rust "$work/rust"
    rm -rf "$work/rust"
}

make_node() {
    echo "Making dropcron-test/node"
    mkdir -p "$work/node"
    cp "$(readlink -f "$(command -v node)")" "$work/node/node"
    cp -a "$(npm root --global)/npm" "$work/node/npm"
    cat >"$work/node/Dockerfile" <<'DOCKERFILE'
FROM dropcron-test/debian
COPY node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
    && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx && npm --version
DOCKERFILE
    docker build --quiet --tag dropcron-test/node "$work/node"
    rm -rf "$work/node"
}

main
