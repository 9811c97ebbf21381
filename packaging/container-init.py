#!/usr/bin/env python3
"""The init service of the compose files: makes the database's password and the first token, once.

All go into volumes: `/secrets/postgres` for the database (root alone), `/secrets/dropcron` for
dropcron (its own user alone, which scripts do not run as), and `/secrets/pgbouncer` where it is
mounted. What is there stays as it is.
"""

import os
import secrets
import sys
from pathlib import Path

ROLE = os.environ.get("POSTGRES_USER", "dropcron")
# As the Dockerfile numbers them; the image of Postgres reads its password as root.
DROPCRON = (10001, 10001)
PGBOUNCER = (10003, 10003)
ROOT = (0, 0)


def main():
    os.umask(0o077)
    password = keep(Path("/secrets/postgres/password"), ROOT, lambda: secrets.token_urlsafe(32))
    # The form of libpq: any host, any port, any database.
    keep(Path("/secrets/dropcron/pgpass"), DROPCRON, lambda: f"*:*:*:{ROLE}:{password}\n")
    keep(Path("/secrets/dropcron/token"), DROPCRON, lambda: secrets.token_urlsafe(32) + "\n")
    pgbouncer = Path("/secrets/pgbouncer")
    if pgbouncer.is_dir():
        keep(pgbouncer / "userlist.txt", PGBOUNCER, lambda: f'"{ROLE}" "{password}"\n')


def keep(path, owner, make):
    """Makes a file whole or not at all, if it is not there; what it says."""
    if not path.parent.is_dir():
        sys.exit(f"error: `{path.parent}` is not there; mount a volume, as docker-compose.yml does")
    if not path.exists():
        beside = path.with_suffix(".new")
        beside.write_text(make())
        beside.chmod(0o400)
        os.chown(beside, *owner)
        os.chown(path.parent, *owner)
        path.parent.chmod(0o700)
        beside.rename(path)
        print(f"made {path}")
    return path.read_text()


if __name__ == "__main__":
    main()
