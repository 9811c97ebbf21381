#!/usr/bin/env bash
# Checks what dropcron needs on this machine. Installs what is missing, or says exactly what to install.
#
#   tools/setup.sh serve    cargo, a linker, Python, Postgres unless DATABASE_URL is set, uv, and Node to build the page
#   tools/setup.sh test     the same, Postgres in any case, libfaketime, which lets one process see another wall clock, schemathesis
#                           in .tools/venv, which asks the API what nobody would, and a browser for the page
#   tools/setup.sh check    cargo with rustfmt and clippy, a linker, ruff in .tools/venv, and Node
#   tools/setup.sh uv       prints where uv is: what DROPCRON_UV names, else on PATH, else in .tools/venv; nothing if nowhere
#
# Silent and without network where nothing is missing. It installs Debian packages, and only as root or through a sudo
# that asks for no password; Rust comes from you. uv comes from PyPI into .tools/venv; without it only scripts that ask for
# packages do not run, so that alone stops nothing.

set -euo pipefail
cd "$(dirname "$0")/.."

# Right after rustup ran, the shell that called us does not know this directory yet.
PATH="$PATH:${HOME:-}/.cargo/bin"

VENV=.tools/venv
OLDEST_PYTHON=3.9
# Read by postgresql-common whenever it is about to create a cluster.
CLUSTER_SETTINGS=/etc/postgresql-common/createcluster.d/dropcron-setup.conf

main() {
    local purpose=${1:-}
    case $purpose in
        serve | test | check) ;;
        uv)
            # What is named and not there is for dropcron to complain of.
            find_uv || echo "${DROPCRON_UV:-}"
            return
            ;;
        *) fail "usage: tools/setup.sh serve|test|check|uv" ;;
    esac
    find_missing "$purpose"
    if [[ ${#problems[@]} -gt 0 || ${#packages[@]} -gt 0 ]]; then
        repair "$purpose"
    fi
    if [[ ${#extras[@]} -gt 0 ]] && can_install; then
        install_extras
    fi
    case $purpose in
        check) prepare_python_tools ;;
        serve) prepare_uv serve ;;
        test)
            prepare_uv test
            prepare_python_tools
            ;;
    esac
}

# --- What is missing: `packages` can be installed with apt, `problems` are for people. ---

find_missing() {
    packages=() needs=() problems=() extras=()
    need_cargo
    need_linker
    need_python
    case $1 in
        serve) [[ -n ${DATABASE_URL:-} ]] || need_postgres ;;
        test)
            need_postgres
            need_faketime
            need_venv
            need_node
            need_browser
            ;;
        check)
            need_rust_component fmt rustfmt
            need_rust_component clippy clippy
            need_venv
            need_node
            ;;
    esac
}

need_cargo() {
    local oldest version
    oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    if ! has cargo; then
        problem "\`cargo\` was not found; dropcron is built with Rust $oldest or newer"
    elif ! version=$(cargo --version 2>&1); then
        problem "\`cargo --version\` failed: $version"
    else
        version=${version#cargo }
        version=${version%% *}
        at_least "$version" "$oldest" || problem "\`cargo\` is $version; dropcron is built with Rust $oldest or newer"
    fi
}

need_rust_component() {
    has cargo || return 0
    "cargo-$1" --version >/dev/null 2>&1 || problem "\`cargo $1\` was not found; run \`rustup component add $2\`"
}

need_linker() {
    has cc || need build-essential "a C compiler and linker (\`cc\`)"
}

need_python() {
    if ! has python3; then
        need python3 "Python $OLDEST_PYTHON or newer (\`python3\`)"
    elif ! python3 -I -S -c "import sys; sys.exit(sys.version_info < (${OLDEST_PYTHON/./, }))"; then
        problem "\`python3\` is $(python3 --version 2>&1); dropcron runs scripts with Python $OLDEST_PYTHON or newer"
    fi
}

need_postgres() {
    has_postgres || need postgresql "the PostgreSQL server (\`initdb\`, \`pg_ctl\`, \`postgres\`)"
}

has_postgres() {
    local directory
    if has initdb && has pg_ctl && has postgres; then
        return 0
    fi
    for directory in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
        if [[ -x $directory/initdb && -x $directory/pg_ctl && -x $directory/postgres ]]; then
            return 0
        fi
    done
    return 1
}

need_faketime() {
    local library
    for library in /usr/lib/faketime/libfaketime.so.1 /usr/lib64/faketime/libfaketime.so.1 /usr/lib/*/faketime/libfaketime.so.1; do
        if [[ -f $library ]]; then
            return 0
        fi
    done
    need libfaketime "\`libfaketime.so.1\`"
}

# An old Node is not in the way: tools/page.sh says what it leaves out.
need_node() {
    if ! has node || ! has npm; then
        want nodejs
        want npm
    fi
}

need_browser() {
    local name
    [[ -z ${DROPCRON_TEST_BROWSER:-} ]] || return 0
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        ! has "$name" || return 0
    done
    want chromium
}

# Debian ships Python without what `python3 -m venv` needs.
need_venv() {
    has_venv || need python3-venv "Python's \`venv\` module"
}

has_venv() {
    has python3 && python3 -I -S -c 'import ensurepip, venv' 2>/dev/null
}

# An absolute path, since nobody knows where it will be read.
find_uv() {
    local candidates=(uv "$VENV/bin/uv") candidate
    # Whoever names one means that one.
    [[ -z ${DROPCRON_UV:-} ]] || candidates=("$DROPCRON_UV")
    for candidate in "${candidates[@]}"; do
        candidate=$(command -v "$candidate") || continue
        # Some that are on PATH only say that another version of Python has it.
        "$candidate" --version >/dev/null 2>&1 || continue
        echo "$(cd "$(dirname "$candidate")" && pwd)/$(basename "$candidate")"
        return
    done
    return 1
}

# --- Repair ---

repair() {
    if [[ ${#problems[@]} -eq 0 ]] && can_install; then
        install_packages
        find_missing "$1"
    fi
    if [[ ${#problems[@]} -gt 0 || ${#packages[@]} -gt 0 ]]; then
        report
        exit 1
    fi
}

can_install() {
    has apt-get || return 1
    if [[ $(id -u) -eq 0 ]]; then
        as_root=(env)
    elif has sudo && sudo -n true 2>/dev/null; then
        as_root=(sudo -n env)
    else
        return 1
    fi
}

install_packages() {
    local log
    echo "Installing ${packages[*]}" >&2
    log=$(mktemp)
    trap 'rm -f "$log"; allow_main_cluster' EXIT
    forbid_main_cluster
    # The package lists may be absent or old: fetch them only if it does not work without.
    if ! apt_install >"$log" 2>&1 && ! { apt_get update && apt_install; } >"$log" 2>&1; then
        cat "$log" >&2
        fail "the packages could not be installed: ${packages[*]}"
    fi
    allow_main_cluster
    rm -f "$log"
    trap - EXIT
}

install_extras() {
    echo "Installing ${extras[*]}" >&2
    packages=("${extras[@]}")
    if ! apt_install >/dev/null 2>&1 && ! { apt_get update && apt_install; } >/dev/null 2>&1; then
        echo "note: these packages could not be installed: ${extras[*]}" >&2
    fi
}

apt_install() {
    apt_get install --yes --no-install-recommends "${packages[@]}"
}

apt_get() {
    "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@" </dev/null
}

# Debian's `postgresql` would create a cluster and start it; dropcron makes its own, where it is used. Nobody's file is
# changed, and the setting goes when the packages are in.
forbid_main_cluster() {
    "${as_root[@]}" mkdir -p "$(dirname "$CLUSTER_SETTINGS")"
    echo 'create_main_cluster = false' | "${as_root[@]}" tee "$CLUSTER_SETTINGS" >/dev/null
}

allow_main_cluster() {
    "${as_root[@]}" rm -f "$CLUSTER_SETTINGS"
    "${as_root[@]}" rmdir "$(dirname "$CLUSTER_SETTINGS")" 2>/dev/null || true
}

prepare_python_tools() {
    install_python_tools requirements.txt ||
        fail "the packages of tools/requirements.txt could not be installed into $VENV; see above"
}

# Never fails: what is missing is missing only for scripts, or tests, that need packages.
prepare_uv() {
    local found
    found=$(find_uv) || true
    if [[ -n $found && $found != "$PWD/$VENV/"* ]]; then
        return
    fi
    if [[ -n ${DROPCRON_UV:-} ]]; then
        miss_uv "$1" "\`DROPCRON_UV\` is \`$DROPCRON_UV\`, which does not answer \`--version\` as a program does"
    elif [[ -z $found ]] && ! has_venv && ! (install_venv); then
        miss_uv "$1" "uv is not on PATH, and cannot be fetched without Python's \`venv\` module (Debian: \`python3-venv\`)"
    elif ! install_python_tools uv.txt && [[ -z $found ]]; then
        miss_uv "$1" "uv is not on PATH, and could not be fetched from PyPI; see above"
    fi
}

install_venv() {
    can_install || return 1
    packages=(python3-venv)
    install_packages
}

# Installs what a file in tools/ pins, unless it is there.
install_python_tools() {
    if cmp -s "tools/$1" "$VENV/$1"; then
        return
    fi
    echo "Preparing $VENV (tools/$1)" >&2
    # One whose Python has gone is of no use any more.
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$VENV"
        python3 -m venv "$VENV" || return 1
    fi
    rm -f "$VENV/$1"
    "$VENV/bin/python" -m pip --quiet --no-input --disable-pip-version-check --retries 2 install -r "tools/$1" || return 1
    # Copied last: it says that all of it is there.
    cp "tools/$1" "$VENV/$1"
}

# --- Words ---

report() {
    local line
    {
        for line in ${problems[@]+"${problems[@]}"}; do
            echo "error: $line"
            [[ $line != *"built with Rust"* ]] || advise_on_rust
        done
        for line in ${needs[@]+"${needs[@]}"}; do
            echo "error: missing: $line"
        done
        if [[ ${#packages[@]} -gt 0 ]]; then
            advise_on_packages
        fi
    } >&2
}

miss_uv() {
    echo "warning: $2" >&2
    case $1 in
        serve) echo "  scripts that ask for packages need attention until it is there; all others run" >&2 ;;
        test) echo "  tests that need it are skipped, and say so" >&2 ;;
    esac
    echo "  install it (\`pip install uv\`, or see docs.astral.sh/uv), or name it by \`DROPCRON_UV\`" >&2
}

advise_on_rust() {
    echo "  with rustup:                     curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    echo "  or from Debian 13, Ubuntu 24.04: sudo apt-get install rustup && rustup default stable"
}

advise_on_packages() {
    local commands
    commands="apt-get update && apt-get install --yes ${packages[*]}"
    if ! has apt-get; then
        echo "  install them with the package manager of this system"
    elif [[ $(id -u) -eq 0 ]]; then
        echo "  run: $commands"
    elif has sudo; then
        echo "  run: sudo sh -c '$commands'"
    else
        echo "  run as root: $commands"
    fi
}

need() {
    packages+=("$1")
    needs+=("$2")
}

# Without it dropcron is built and tested all the same: what is left out, tools/page.sh says.
want() {
    extras+=("$1")
}

problem() {
    problems+=("$1")
}

has() {
    command -v "$1" >/dev/null
}

# Compares versions such as 1.91 and 1.95.0.
at_least() {
    [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]
}

fail() {
    echo "error: $1" >&2
    exit 1
}

main "$@"
