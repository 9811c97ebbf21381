#!/usr/bin/env bash
# The image and the compose files with a real engine, from the first build to the last `down`.
#
#   make test-compose
#
# Where no Docker engine answers, root gets Debian's installed and one is started for the time of the test, with its data below
# /var/tmp. Public images are not needed: bases.sh makes the bases. DROPCRON_TEST_KEEP=1 leaves the stack for a look.

set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD

readonly PATIENCE=${DROPCRON_TEST_PATIENCE:-180}
work=$(mktemp -d /var/tmp/dropcron-compose.XXXXXX)
engine=
passed=0

export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1
export COMPOSE_PROJECT_NAME=dropcron-compose-test
export NODE_IMAGE=dropcron-test/node RUST_IMAGE=dropcron-test/rust RUNTIME_IMAGE=dropcron-test/debian
export POSTGRES_IMAGE=dropcron-test/postgres
export DROPCRON_IMAGE=dropcron-test/dropcron:one PGBOUNCER_IMAGE=dropcron-test/pgbouncer
export SCRIPTS=$work/scripts
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
DROPCRON_PORT=$(free_port) DROPCRON_PORT_2=$(free_port)
export DROPCRON_PORT DROPCRON_PORT_2

main() {
    ensure_engine
    trap leave EXIT
    mkdir -p "$SCRIPTS"
    chmod 755 "$work" "$SCRIPTS"
    tests/compose/bases.sh
    step "builds the image" build
    step "comes up healthy" come_up
    step "keeps credentials out of files, environment and inspection" look_for_credentials
    step "serves the page and the API, to those who have the token" browse
    step "records what a dropped script returns" record
    step "keeps a hostile script from secrets, database and scheduler" resist
    step "has nothing to mend" consult_doctor
    step "upgrades to a new image during a run" upgrade
    step "survives the death of Postgres" survive
    step "comes back from a backup" restore
    step "runs on two nodes behind a pooler, and on one of them" share
    step "takes a new password for the database" change_password
    step "goes down" go_down
    echo "$passed passed, 0 failed"
}

# --- Steps ---

build() {
    compose build dropcron
    compose_two build pgbouncer
    docker image inspect "$DROPCRON_IMAGE" --format '{{json .Config.Labels}}' | grep -q '"org.opencontainers.image.title":"dropcron"'
    docker run --rm --entrypoint cat "$DROPCRON_IMAGE" /usr/share/doc/dropcron/sbom.cdx.json >"$work/sbom.json"
    python3 - "$work/sbom.json" <<'PYTHON'
import json, sys
components = json.load(open(sys.argv[1]))["components"]
kinds = {one["purl"].split("/")[0] for one in components}
assert kinds >= {"pkg:cargo", "pkg:deb", "pkg:pypi"} or sys.exit(f"the SBOM has {kinds} only")
print(f"  the SBOM names {len(components)} components")
PYTHON
    local base image
    base=$(docker image inspect "$RUNTIME_IMAGE" --format '{{.Size}}')
    image=$(docker image inspect "$DROPCRON_IMAGE" --format '{{.Size}}')
    echo "  the image has $((image / 1000000)) MB, of which its base has $((base / 1000000))"
}

come_up() {
    compose up -d --no-build
    wait_for "dropcron is healthy" is_healthy dropcron
    compose exec -T dropcron dropcron health
    compose exec -T dropcron uv --version
    # The init service runs again with each `up`, and changes nothing.
    compose exec -T dropcron cat /run/secrets/pgpass >"$work/pgpass"
    compose up -d --no-build
    compose exec -T dropcron cat /run/secrets/pgpass | cmp - "$work/pgpass"
}

look_for_credentials() {
    local password
    password=$(cut -d: -f5 "$work/pgpass")
    [[ ${#password} -ge 32 ]] || fail "the password is short"
    for container in $(compose ps -q); do
        ! docker inspect "$container" | grep -qF "$password" || fail "the password is in the definition of $container"
        ! docker logs "$container" 2>&1 | grep -qF "$password" || fail "the password is in the log of $container"
    done
    ! compose exec -T dropcron env | grep -qF "$password" || fail "the password is in the environment"
    [[ -z $(docker port "$(compose ps -q postgres)") ]] || fail "Postgres is published"
    docker port "$(compose ps -q dropcron)" 8642 | grep -q '^127\.0\.0\.1:' || fail "the page is not on loopback"
}

browse() {
    local token
    fetch "$DROPCRON_PORT" / | grep -q '<script type="module"' || fail "the page was not built into the program"
    ! fetch "$DROPCRON_PORT" /api/v1/tasks >/dev/null 2>&1 || fail "the API is open without a token"
    token=$(compose exec -T dropcron cat /run/secrets/token)
    fetch "$DROPCRON_PORT" /api/v1/session --header "Authorization: Bearer $token" | grep -q '"role":"admin"'
}

record() {
    script tick '* * * * * *' 'def run(): return {"value": 42}'
    wait_for_rows "task_name = 'tick' and status = 'succeeded' and return_value = '{\"value\": 42}'"
}

# What it manages to read, it returns.
resist() {
    script hostile '@every 2s' "$(cat tests/compose/hostile.py)"
    wait_for_rows "task_name = 'hostile' and status = 'succeeded'"
    local got
    got=$(sql "select return_value::text from dropcron.run_log where task_name = 'hostile' and status = 'succeeded' limit 1")
    [[ $got == *'"got": {}'* ]] || fail "a script reached: $got"
    [[ $got == *'"uid": 10002'* && $got == *'"tried": '* ]] || fail "$got"
    rm "$SCRIPTS/hostile.py"
}

consult_doctor() {
    compose exec -T dropcron dropcron doctor
}

upgrade() {
    local two=dropcron-test/dropcron:two
    docker build --quiet --target dropcron --tag "$two" --build-arg VERSION=0.1.1-test --build-arg NODE_IMAGE \
        --build-arg RUST_IMAGE --build-arg RUNTIME_IMAGE . >/dev/null
    hold_run long
    # Its service is asked to leave now, and waits for it.
    (DROPCRON_IMAGE=$two compose up -d --no-build --no-deps dropcron) &
    local upgrading=$!
    wait_for "the service drains" holds "select count(*) > 0 from dropcron.node where state = 'draining'"
    touch "$SCRIPTS/long.go"
    wait "$upgrading"
    export DROPCRON_IMAGE=$two
    wait_for "dropcron is healthy again" is_healthy dropcron
    [[ $(docker inspect "$(compose ps -q dropcron)" --format '{{index .Config.Labels "org.opencontainers.image.version"}}') == 0.1.1-test ]]
    expect 1 "select count(*) from dropcron.run_log where task_name = 'long' and status = 'succeeded'"
    ticks_go_on
}

survive() {
    hold_run outage
    local container since
    container=$(compose ps -q postgres)
    since=$(docker inspect "$container" --format '{{.State.StartedAt}}')
    kill -9 "$(docker inspect "$container" --format '{{.State.Pid}}')"
    touch "$SCRIPTS/outage.go"
    wait_for "the engine starts Postgres again" restarted_since "$container" "$since"
    wait_for "Postgres is healthy" is_healthy postgres
    wait_for "dropcron is healthy" is_healthy dropcron
    wait_for_rows "task_name = 'outage' and status = 'succeeded'"
    ticks_go_on
}

restore() {
    local runs
    compose stop dropcron
    runs=$(sql "select count(*) from dropcron.run_log")
    compose exec -T postgres pg_dump -U dropcron -Fc dropcron >"$work/backup"
    compose down --volumes
    compose up -d --no-build postgres
    wait_for "Postgres is healthy" is_healthy postgres
    sql 'create role dropcron_reader; create role dropcron_operator' >/dev/null
    compose exec -T postgres pg_restore -U dropcron --dbname=dropcron --exit-on-error <"$work/backup"
    expect "$runs" "select count(*) from dropcron.run_log"
    compose up -d --no-build
    wait_for "dropcron is healthy" is_healthy dropcron
    # What was due in between is there too, as a span.
    ticks_go_on
}

share() {
    compose_two up -d --no-build
    wait_for "both nodes are alive" holds "select count(*) = 2 from dropcron.node where state = 'live' and lease_until > clock_timestamp()"
    wait_for "the second is healthy" is_healthy dropcron-2
    fetch "$DROPCRON_PORT_2" /readyz
    [[ $(sql "select count(*) from pg_stat_activity where client_addr is not null") -gt 0 ]]
    ticks_go_on
    compose_two stop dropcron
    ticks_go_on
    expect 1 "select count(*) from dropcron.node where state = 'live' and lease_until > clock_timestamp()"
}

# As docs/operating.md says.
change_password() {
    local new=5ecret-of-the-test
    compose exec -T postgres psql -qU dropcron -c "alter role dropcron password '$new'"
    compose_two run --rm --no-deps -T --entrypoint sh init -c 'cat > /secrets/postgres/password' <<<"$new"
    compose_two up -d --no-build --force-recreate
    wait_for "both nodes are alive" holds "select count(*) = 2 from dropcron.node where state = 'live' and lease_until > clock_timestamp()"
    compose_two exec -T dropcron cut -d: -f5 /run/secrets/pgpass | grep -qx "$new"
    ticks_go_on
}

go_down() {
    compose_two down --volumes
    [[ -z $(docker ps -aq --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME") ]] || fail "containers are left"
}

# --- The stack ---

compose() {
    "${compose_program[@]}" --project-directory "$root" -f docker-compose.yml "$@"
}

compose_two() {
    "${compose_program[@]}" --project-directory "$root" -f docker-compose.yml -f compose.two-nodes.yml "$@"
}

# fetch PORT PATH [OPTION...]
fetch() {
    curl --silent --show-error --fail "${@:3}" "http://127.0.0.1:$1$2"
}

sql() {
    compose exec -T postgres psql -U dropcron -XAtc "$1" dropcron
}

holds() {
    [[ $(sql "$1" 2>/dev/null) == t ]]
}

expect() {
    local got
    got=$(sql "$2")
    [[ $got == "$1" ]] || fail "$2: $got, and not $1"
}

is_healthy() {
    [[ $(docker inspect "$(compose_two ps -q "$1")" --format '{{.State.Health.Status}}') == healthy ]]
}

restarted_since() {
    [[ $(docker inspect "$1" --format '{{.State.Running}} {{.State.StartedAt}}') != *"$2" ]] &&
        [[ $(docker inspect "$1" --format '{{.State.Running}}') == true ]]
}

# script NAME SCHEDULE CODE
script() {
    printf '# /// script\n# [tool.dropcron]\n# schedule = "%s"\n# ///\n%s\n' "$2" "$3" >"$work/new.py"
    chmod 644 "$work/new.py"
    mv "$work/new.py" "$SCRIPTS/$1.py"
}

# A run that goes on until $SCRIPTS/NAME.go is there.
hold_run() {
    local code='import os, threading
def run():
    while not os.path.exists("/scripts/NAME.go"):
        threading.Event().wait(0.05)
    return "ended"'
    script "$1" '@every 1h' "${code//NAME/$1}"
    wait_for "the task $1 is there" holds "select count(*) > 0 from dropcron.task where name = '$1'"
    compose exec -T -d dropcron true
    sql "select dropcron_report.run_now('$1')" >/dev/null
    wait_for "the run of $1 goes on" holds "select count(*) > 0 from dropcron.run_log where task_name = '$1' and status = 'running'"
}

wait_for_rows() {
    wait_for "a row with $1" holds "select count(*) > 0 from dropcron.run_log where $1"
}

# New rows come, and none is missing from the first to the last: each second is a row, or part of a span.
ticks_go_on() {
    local last
    last=$(sql "select max(scheduled_for) from dropcron.run_log where task_name = 'tick'")
    wait_for_rows "task_name = 'tick' and status = 'succeeded' and scheduled_for > '$last'::timestamptz + interval '3 s'"
    expect t "select sum(coalesce(missed_count, 1))
                     = extract(epoch from max(coalesce(missed_until, scheduled_for)) - min(scheduled_for))::bigint + 1
                from dropcron.run_log where task_name = 'tick' and trigger in ('schedule', 'catch_up')"
}

# --- The test ---

step() {
    echo "== It $1"
    "$2"
    passed=$((passed + 1))
}

wait_for() {
    local what=$1 until=$((SECONDS + PATIENCE))
    shift
    until "$@"; do
        ((SECONDS < until)) || fail "still not so: $what"
        read -r -t 0.3 _ <> <(:) || true
    done
}

fail() {
    echo "error: $1" >&2
    exit 1
}

leave() {
    local code=$?
    if [[ $code -ne 0 ]]; then
        echo "--- the last lines of the logs" >&2
        compose_two logs --tail=30 >&2 || true
        echo "$passed passed, 1 failed"
    fi
    if [[ -z ${DROPCRON_TEST_KEEP:-} ]]; then
        compose_two down --volumes --timeout 5 >/dev/null 2>&1 || true
        if [[ -n $engine ]]; then
            kill "$engine" 2>/dev/null || true
            wait "$engine" || true
        fi
        rm -rf "$work"
    fi
    exit "$code"
}

# --- The engine ---

ensure_engine() {
    if ! command -v dockerd >/dev/null && ! docker info >/dev/null 2>&1; then
        install_engine
    fi
    choose_client
    docker info >/dev/null 2>&1 || start_engine
    if docker compose version >/dev/null 2>&1; then
        compose_program=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose_program=(docker-compose)
    else
        skip "there is no docker compose (Debian: \`apt-get install docker-compose\`)"
    fi
    command -v debootstrap >/dev/null || install_engine
}

install_engine() {
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        skip "there is no Docker engine, and only root can install one (Debian: \`apt-get install docker.io docker-compose debootstrap\`)"
    fi
    echo "Installing docker.io, docker-compose and debootstrap"
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends \
        docker.io docker-compose debootstrap iptables; } >"$work/install.log" 2>&1 </dev/null ||
        { cat "$work/install.log" >&2; exit 1; }
}

# A client that can build with BuildKit: one with buildx, or one from before it was split off.
choose_client() {
    local client
    for client in $(type -ap docker); do
        if "$client" buildx version >/dev/null 2>&1 || [[ $("$client" --version) == *" version 20."* ]]; then
            mkdir -p "$work/bin"
            ln -s "$client" "$work/bin/docker"
            PATH=$work/bin:$PATH
            return
        fi
    done
    skip "no docker client here builds with BuildKit"
}

start_engine() {
    [[ $(id -u) -eq 0 ]] || skip "no Docker engine answers, and only root can start one"
    echo "Starting an engine for the time of this test"
    export DOCKER_HOST=unix://$work/docker.sock
    mkdir -p /var/tmp/dropcron-compose-engine
    dockerd --host "$DOCKER_HOST" --data-root /var/tmp/dropcron-compose-engine --exec-root "$work/exec" --pidfile "$work/pid" \
        >"$work/dockerd.log" 2>&1 &
    engine=$!
    wait_for "the engine answers" docker info >/dev/null 2>&1
}

skip() {
    echo "skipped: $1"
    rm -rf "$work"
    exit 0
}

main
