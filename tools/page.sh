#!/usr/bin/env bash
# The page in web/.
#
#   tools/page.sh build      builds it into web/dist, unless that is newer than all it is made of
#   tools/page.sh check      its format, lints and types
#   tools/page.sh format     its format
#   tools/page.sh test       tests of its components
#   tools/page.sh browser    builds it, and walks through it in a browser, on target/debug/dropcron
#
# Without Node, or with an old one, it says what it leaves out and ends well: dropcron works without the page.

set -euo pipefail
cd "$(dirname "$0")/../web"

OLDEST_NODE=20.19
BROWSERS=(chromium chromium-browser google-chrome google-chrome-stable)

main() {
    local purpose=${1:-}
    case $purpose in
        build | check | format | test | browser) ;;
        *) fail "usage: tools/page.sh build|check|format|test|browser" ;;
    esac
    if ! problem=$(node_problem); then
        echo "skipped: $problem; \`tools/page.sh $purpose\` is left out, and dropcron is built without its page" >&2
        return
    fi
    install
    case $purpose in
        build) build ;;
        check) npm run --silent check ;;
        format) npm run --silent format ;;
        test) npm run --silent test ;;
        browser) browse ;;
    esac
}

# Says what is wrong with Node, if something is.
node_problem() {
    local version
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "\`node\` or \`npm\` was not found"
        return 1
    fi
    version=$(node --version)
    version=${version#v}
    if [[ $(printf '%s\n' "$version" "$OLDEST_NODE" | sort -V | head -n 1) != "$OLDEST_NODE" ]]; then
        echo "\`node\` is $version, and the page needs $OLDEST_NODE or newer"
        return 1
    fi
}

# npm writes its own copy of the lock file when everything is in place.
install() {
    if [[ node_modules/.package-lock.json -ot package-lock.json ]]; then
        echo "Preparing web/node_modules" >&2
        npm ci --silent --no-progress
        touch node_modules/.package-lock.json
    fi
}

build() {
    if is_new; then
        return
    fi
    echo "Building web/dist" >&2
    npm run --silent build
    # Names of files have their hashes in them; the one that has none may keep an old time.
    touch dist/index.html
    # cargo does not look at what is embedded, least of all where there was nothing before.
    touch ../src/api/page.rs
}

is_new() {
    [[ -f dist/index.html ]] || return 1
    local newer
    newer=$(find src public index.html package.json package-lock.json vite.config.ts tsconfig.json ../docs/openapi.json \
        -not -name schema.ts -newer dist/index.html -print -quit)
    [[ -z $newer ]]
}

browse() {
    local browser
    if ! browser=$(find_browser); then
        echo "skipped: no browser was found (${BROWSERS[*]}, or the one that DROPCRON_TEST_BROWSER names): the tests of" \
            "web/tests/e2e are left out" >&2
        return
    fi
    build
    DROPCRON_TEST_BROWSER=$browser npm run --silent test:browser
}

find_browser() {
    local name
    if [[ -n ${DROPCRON_TEST_BROWSER:-} ]]; then
        echo "$DROPCRON_TEST_BROWSER"
        return
    fi
    for name in "${BROWSERS[@]}"; do
        command -v "$name" && return
    done
    return 1
}

fail() {
    echo "error: $1" >&2
    exit 1
}

main "$@"
