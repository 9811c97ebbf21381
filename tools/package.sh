#!/usr/bin/env bash
# Builds packages of the program, into target/packages.
#
#   tools/package.sh deb      a Debian package, by cargo-deb
#   tools/package.sh wheel    a Python wheel of the program, by maturin
#
# Both tools are installed below .tools where they are not on PATH.

set -euo pipefail
cd "$(dirname "$0")/.."

CARGO_DEB_VERSION=3.8.0
MATURIN_VERSION=1.16.0
out=target/packages
PATH="$PWD/.tools/bin:$PWD/.tools/package-venv/bin:$PATH"

main() {
    mkdir -p "$out"
    case ${1:-} in
        deb) build_deb ;;
        wheel) build_wheel ;;
        *)
            echo "error: usage: tools/package.sh deb|wheel" >&2
            exit 2
            ;;
    esac
}

build_deb() {
    command -v cargo-deb >/dev/null ||
        cargo install --locked --quiet --root .tools "cargo-deb@$CARGO_DEB_VERSION"
    cargo build --release --locked
    generate target/release/dropcron target/generated
    cargo deb --no-build --locked --quiet --output "$out/"
}

# Manual pages and completions, by the program itself.
generate() {
    local program=$1 directory=$2
    rm -rf "$directory"
    mkdir -p "$directory/completions"
    "$program" generate man "$directory/man"
    "$program" generate completions bash >"$directory/completions/dropcron.bash"
    "$program" generate completions zsh >"$directory/completions/_dropcron"
    "$program" generate completions fish >"$directory/completions/dropcron.fish"
}

build_wheel() {
    if ! command -v maturin >/dev/null; then
        python3 -m venv .tools/package-venv
        .tools/package-venv/bin/pip --quiet --disable-pip-version-check install "maturin==$MATURIN_VERSION"
    fi
    maturin build --release --locked --quiet --out "$out"
}

main "$@"
