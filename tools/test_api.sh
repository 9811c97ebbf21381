#!/usr/bin/env bash
# Asks a service everything that docs/openapi.json allows, and much that it does not, and expects no answer of 500 or above.

set -euo pipefail
cd "$(dirname "$0")/.."

# So long at most, in seconds: what there is to find is found in the first minute.
readonly TIME_LIMIT=90

root=$PWD
world=$(mktemp -d)
serve=
trap finish EXIT

main() {
    cargo build --quiet --locked
    # As root, the private Postgres runs as another user, who must be able to get there.
    chmod 755 "$world"
    mkdir "$world/scripts"
    cp scripts/hello.py "$world/scripts"
    start_serve
    ask
    if grep 'a request could not be answered\|panicked' "$world/log"; then
        exit 1
    fi
}

# On a private Postgres and a free port. Its log is read as it comes, up to the line that says where it listens.
start_serve() {
    local line
    mkfifo "$world/pipe"
    DROPCRON_DATA_DIR=$world/data DROPCRON_SCRIPTS_DIR=$world/scripts DROPCRON_LISTEN=127.0.0.1:0 \
        "${CARGO_TARGET_DIR:-target}/debug/dropcron" serve 2>"$world/pipe" >/dev/null &
    serve=$!
    exec 3<"$world/pipe"
    address=
    while [[ -z $address ]] && IFS= read -r line <&3; do
        echo "$line" >>"$world/log"
        address=$(sed -n 's|.*the API and the page are at http://\(.*\)/.*|\1|p' <<<"$line")
    done
    if [[ -z $address ]]; then
        cat "$world/log"
        exit 1
    fi
    cat <&3 >>"$world/log" &
}

# Streams do not end by themselves, and whoever revokes the token in use locks everybody out.
ask() {
    cd "$world"
    "$root/.tools/venv/bin/schemathesis" run "$root/docs/openapi.json" --url "http://$address" \
        --header "Authorization: Bearer $(<"$world/data/token")" --checks not_a_server_error --phases coverage,fuzzing \
        --max-examples 10 --max-time "$TIME_LIMIT" --suppress-health-check all --generation-deterministic \
        --warnings off --no-color --exclude-path-regex 'output/events$|tokens/'
}

finish() {
    if [[ -n $serve ]]; then
        kill "$serve" 2>/dev/null || true
        wait "$serve" 2>/dev/null || true
    fi
    rm -rf "$world"
}

main
