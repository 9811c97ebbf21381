#!/usr/bin/env bash
# Builds the Debian package and the wheel, and installs both in clean roots.
#
#   make test-packages
#
# Needs root: the roots are made by debootstrap below /var/tmp. The second Postgres, for `dropcron database upgrade`, comes from the
# release before.

set -euo pipefail
cd "$(dirname "$0")/../.."

SUITE=${DROPCRON_TEST_SUITE:-trixie}
OLDER_SUITE=${DROPCRON_TEST_OLDER_SUITE:-bookworm}
DEBIAN_MIRROR=${DROPCRON_TEST_DEBIAN_MIRROR:-http://deb.debian.org/debian}
PATIENCE=${DROPCRON_TEST_PATIENCE:-180}
work=$(mktemp -d /var/tmp/dropcron-packages.XXXXXX)
root=$work/root
machine=
passed=0

main() {
    [[ $(id -u) -eq 0 ]] || skip "only root can make a clean root"
    if ! command -v debootstrap >/dev/null; then
        command -v apt-get >/dev/null || skip "there is no debootstrap"
        apt-get -q install --yes --no-install-recommends debootstrap >/dev/null </dev/null
    fi
    trap leave EXIT
    step "builds both packages" build
    step "installs the wheel into a virtual environment" install_wheel
    step "makes a clean Debian root" make_root
    step "installs the Debian package" install_package
    step "runs scripts as their own user, on a private Postgres" run_scripts
    step "is started, watched and stopped by systemd" serve_under_systemd
    step "moves the private Postgres to a newer version" move_postgres
    step "keeps what is people's when it is removed" remove_package
    echo "$passed passed, 0 failed"
}

build() {
    rm -rf target/packages
    tools/package.sh deb
    tools/package.sh wheel
    deb=$(echo target/packages/*.deb)
    wheel=$(echo target/packages/*.whl)
    ls -l "$deb" "$wheel"
    dpkg-deb --info "$deb" | grep -q '^ Depends: .*libc6' || fail "the package does not know its libraries"
}

install_wheel() {
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" --quiet --disable-pip-version-check install --no-index "$wheel"
    [[ $("$work/venv/bin/dropcron" --version) == "dropcron $(version)" ]] || fail "the wheel has another version"
    "$work/venv/bin/dropcron" check scripts/hello.py
    "$work/venv/bin/pip" --quiet uninstall --yes dropcron
    [[ ! -e $work/venv/bin/dropcron ]] || fail "the program stays behind"
}

make_root() {
    debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$root" "$DEBIAN_MIRROR" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
    echo "deb $DEBIAN_MIRROR $OLDER_SUITE main" >"$root/etc/apt/sources.list.d/older.list"
    # Nothing starts in there by itself.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    mkdir -p "$root/etc/postgresql-common/createcluster.d"
    echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.d/none.conf"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    inside apt-get -q update >"$work/log" 2>&1
}

install_package() {
    cp "$deb" "$root/tmp/dropcron.deb"
    DEBIAN_FRONTEND=noninteractive inside apt-get -q install --yes --no-install-recommends /tmp/dropcron.deb postgresql-common tzdata \
        >"$work/log" 2>&1 || { tail -30 "$work/log" >&2; exit 1; }
    [[ $(inside dropcron --version) == "dropcron $(version)" ]]
    local path
    for path in /usr/share/man/man1/dropcron-serve.1.gz /usr/share/bash-completion/completions/dropcron \
        /usr/share/zsh/vendor-completions/_dropcron /etc/default/dropcron /usr/share/doc/dropcron/copyright \
        /usr/share/doc/dropcron/prometheus-rules.yml; do
        inside test -s "$path" || fail "the package has no $path"
    done
    unit=$(inside dpkg -L dropcron | grep '/dropcron\.service$') || fail "the package has no unit"
    inside grep -q '^User=dropcron$' "$unit"
    has_mode /etc/dropcron/scripts "755 root:root"
    has_mode /etc/dropcron/secrets "750 root:dropcron"
    has_mode /var/lib/dropcron "711 dropcron:dropcron"
    inside id dropcron-runner >/dev/null
    inside dpkg --verify dropcron
}

# With the capabilities that the unit gives, and nothing of root.
as_service() {
    local capabilities=+setuid,+setgid,+kill,+chown,+fowner,+dac_override
    inside setpriv --reuid=dropcron --regid=dropcron --init-groups --inh-caps="-all,$capabilities" --ambient-caps="-all,$capabilities" \
        --bounding-set="-all,$capabilities" env \
        PATH=/usr/local/bin:/usr/bin:/bin DROPCRON_DATA_DIR=/var/lib/dropcron DROPCRON_SCRIPTS_DIR=/etc/dropcron/scripts \
        DROPCRON_SECRETS_DIR=/etc/dropcron/secrets DROPCRON_RUN_AS=dropcron-runner "$@"
}

run_scripts() {
    # The older Postgres alone: the cluster is made by the newest that there is.
    DEBIAN_FRONTEND=noninteractive inside apt-get -q install --yes --no-install-recommends "postgresql-$(older_version)" \
        >"$work/log" 2>&1 || { tail -30 "$work/log" >&2; exit 1; }
    printf 'import getpass\ndef run():\n    return getpass.getuser()\n' >"$root/etc/dropcron/scripts/who.py"
    as_service dropcron run /etc/dropcron/scripts/who.py | grep dropcron-runner || fail "the script did not run as its own user"
    as_service dropcron doctor || true
    [[ $(cat "$root/var/lib/dropcron/postgres/data/PG_VERSION") == "$(older_version)" ]]
}

# The unit as it is; its times alone are shorter.
serve_under_systemd() {
    DEBIAN_FRONTEND=noninteractive inside apt-get -q install --yes --no-install-recommends systemd-sysv dbus \
        >"$work/log" 2>&1 || { tail -30 "$work/log" >&2; exit 1; }
    boot
    mkdir -p "$root/etc/systemd/system/dropcron.service.d"
    printf '[Service]\nWatchdogSec=10s\nRestartSec=1s\n' >"$root/etc/systemd/system/dropcron.service.d/test.conf"
    script tick '@every 1s' 'def run(): return "tick"'
    script hold '@every 1h' 'import os, threading
def run():
    while not os.path.exists("/etc/dropcron/scripts/hold.go"):
        threading.Event().wait(0.05)
    return "ended"'
    booted systemctl daemon-reload
    # It is of the type `notify`: this returns when it serves.
    booted systemctl start dropcron
    wait_for "a task runs" has_row tick succeeded
    # The journal has other readers.
    booted journalctl --quiet -u dropcron >"$work/journal"
    grep -qF "with the token in \`/var/lib/dropcron/token\`" "$work/journal" || fail "nobody is told of the first token"
    ! grep -qF "$(cat "$root/var/lib/dropcron/token")" "$work/journal" || fail "the first token is in the journal"

    echo "  a run may end before the service does"
    as_booted psql -qXAtc "select dropcron_report.run_now('hold')" "$(as_booted dropcron database-url)"
    wait_for "the run goes on" has_row hold running
    booted systemctl stop --no-block dropcron
    wait_for "the service drains" is_unit ActiveState deactivating
    touch "$root/etc/dropcron/scripts/hold.go"
    wait_for "the service has ended" is_unit ActiveState inactive
    is_unit Result success || fail "the service did not end well: $(booted systemctl show dropcron -p Result)"
    booted systemctl start dropcron
    has_row hold succeeded || fail "the run did not end: $(as_booted dropcron runs --task hold)"

    echo "  a service that hangs is started again"
    booted kill -STOP "$(booted systemctl show dropcron -p MainPID --value)"
    wait_for "systemd starts it again" is_unit NRestarts 1
    wait_for "it serves again" is_unit ActiveState active

    echo "  a mistake in its configuration ends it for good"
    echo DROPCRON_MAX_RUNNING=many >>"$root/etc/default/dropcron"
    ! booted systemctl restart dropcron 2>/dev/null || fail "it serves with a wrong configuration"
    if ! is_unit ActiveState failed || ! is_unit ExecMainStatus 2; then
        fail "$(booted systemctl status --no-pager dropcron)"
    fi
    booted journalctl --quiet -u dropcron | grep -q 'DROPCRON_MAX_RUNNING.*it must be' || fail "the journal does not say why"
    sed -i '/^DROPCRON_MAX_RUNNING/d' "$root/etc/default/dropcron"
    rm "$root"/etc/dropcron/scripts/{tick,hold}.py
    shut_down
}

move_postgres() {
    local newer
    newer=$(inside apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | sort -n | tail -1)
    DEBIAN_FRONTEND=noninteractive inside apt-get -q install --yes --no-install-recommends "postgresql-$newer" \
        >"$work/log" 2>&1 || { tail -30 "$work/log" >&2; exit 1; }
    as_service dropcron database upgrade
    [[ $(cat "$root/var/lib/dropcron/postgres/data/PG_VERSION") == "$newer" ]] || fail "the cluster is of another version"
    inside test -d "/var/lib/dropcron/postgres/data.old-$(older_version)"
    # The old programs are not needed any more, and all rows are there.
    inside apt-get -q purge --yes "postgresql-$(older_version)" >"$work/log" 2>&1
    as_service dropcron runs | grep 'who .*succeeded' || fail "the history is gone"
    as_service dropcron run /etc/dropcron/scripts/who.py >/dev/null
    as_service dropcron database upgrade | grep already
}

remove_package() {
    inside apt-get -q purge --yes dropcron >"$work/log" 2>&1
    inside test ! -e /usr/bin/dropcron
    inside test -s /etc/dropcron/scripts/who.py || fail "a script is gone"
    inside test -d /var/lib/dropcron/postgres/data || fail "the database is gone"
}

# --- Around it ---

version() {
    sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1
}

older_version() {
    # That of the release before.
    case $OLDER_SUITE in
        bookworm) echo 15 ;;
        trixie) echo 17 ;;
        *) fail "which Postgres does $OLDER_SUITE have?" ;;
    esac
}

inside() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}

# script NAME SCHEDULE CODE
script() {
    printf '# /// script\n# [tool.dropcron]\n# schedule = "%s"\n# ///\n%s\n' "$2" "$3" >"$root/etc/dropcron/scripts/$1.py"
}

boot() {
    unshare --fork --pid --mount --uts --ipc --cgroup --kill-child tests/packages/boot.sh "$root" >"$work/boot.log" 2>&1 &
    machine=$!
    wait_for "systemd is up" is_up
}

# `degraded`: a unit that wants hardware is no business of ours.
is_up() {
    [[ $(booted systemctl is-system-running 2>/dev/null) =~ ^(running|degraded)$ ]]
}

shut_down() {
    [[ -n ${machine:-} ]] || return 0
    kill -KILL "$machine" 2>/dev/null || true
    wait "$machine" 2>/dev/null || true
    machine=
}

# In the system that was booted.
booted() {
    nsenter --target "$(pgrep --parent "$machine")" --all --root --wd=/ \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@" </dev/null
}

as_booted() {
    booted setpriv --reuid=dropcron --regid=dropcron --init-groups env DROPCRON_DATA_DIR=/var/lib/dropcron "$@"
}

has_row() {
    as_booted dropcron runs --task "$1" | grep -qw "$2"
}

is_unit() {
    [[ $(booted systemctl show dropcron -p "$1" --value) == "$2" ]]
}

wait_for() {
    local what=$1 until=$((SECONDS + PATIENCE))
    shift
    until "$@"; do
        ((SECONDS < until)) || fail "still not so: $what"
        read -r -t 0.3 _ <> <(:) || true
    done
}

has_mode() {
    local found
    found=$(inside stat --format='%a %U:%G' "$1")
    [[ $found == "$2" ]] || fail "$1 is $found, and not $2"
}

step() {
    echo "== It $1"
    "$2"
    passed=$((passed + 1))
}

fail() {
    echo "error: $1" >&2
    exit 1
}

skip() {
    echo "skipped: $1"
    rm -rf "$work"
    exit 0
}

leave() {
    local code=$?
    [[ $code -eq 0 ]] || echo "$passed passed, 1 failed"
    shut_down
    if mountpoint -q "$root/dev/shm"; then umount "$root/dev/shm"; fi
    if mountpoint -q "$root/proc"; then umount "$root/proc"; fi
    # Whatever is still mounted must not be removed with it.
    if ! grep -q " $root" /proc/self/mountinfo; then
        rm -rf --one-file-system "$work"
    fi
    exit "$code"
}

main
