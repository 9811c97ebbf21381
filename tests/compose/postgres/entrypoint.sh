#!/usr/bin/env bash
# Makes the cluster at the first start, as the official image does: POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD_FILE,
# POSTGRES_INITDB_ARGS. Root reads the password; the server runs as `postgres`.

set -euo pipefail

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups)

install -d -o postgres -g postgres -m 700 "$PGDATA"
install -d -o postgres -g postgres -m 755 /var/run/postgresql
if [[ ! -s $PGDATA/PG_VERSION ]]; then
    install -o postgres -m 400 "$POSTGRES_PASSWORD_FILE" /run/password
    # shellcheck disable=SC2086 # several arguments
    "${as_postgres[@]}" initdb --username="$user" --pwfile=/run/password --auth-local=trust --auth-host=scram-sha-256 \
        ${POSTGRES_INITDB_ARGS:-} --pgdata="$PGDATA"
    rm /run/password
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    if [[ $database != postgres ]]; then
        "${as_postgres[@]}" pg_ctl --wait --options="-c listen_addresses=''" start >/dev/null
        "${as_postgres[@]}" psql --username="$user" --dbname=postgres --quiet --command="CREATE DATABASE \"$database\""
        "${as_postgres[@]}" pg_ctl --wait --mode=fast stop >/dev/null
    fi
fi
exec "${as_postgres[@]}" postgres -c listen_addresses='*'
