#!/usr/bin/env python3
"""The init service of the compose files: makes the database's password and the first token.

All go into volumes: `/secrets/postgres` for the database (root alone), `/secrets/dropcron` for
dropcron (its own user alone, which scripts do not run as), and `/secrets/pgbouncer` where it is
mounted. The password and the token are made once. What others read the password from is written
again where it says something else, so that changing it is a matter of one file.
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
    own, others = Path("/secrets/postgres"), Path("/secrets/dropcron")
    for directory in (own, others):
        if not directory.is_dir():
            sys.exit(
                f"error: `{directory}` is not there; mount a volume, as docker-compose.yml does"
            )
    if not (own / "password").exists() and (others / "pgpass").exists():
        sys.exit(
            f"error: `{own}/password` is gone, and the database has it still; put it there again"
            f" (it is the last field of `{others}/pgpass`), or remove that file too for a new one"
        )
    password = keep(own / "password", ROOT, lambda: secrets.token_urlsafe(32)).strip()
    # The form of libpq: any host, any port, any database.
    write(others / "pgpass", DROPCRON, f"*:*:*:{ROLE}:{password}\n")
    keep(others / "token", DROPCRON, lambda: secrets.token_urlsafe(32) + "\n")
    pgbouncer = Path("/secrets/pgbouncer")
    if pgbouncer.is_dir():
        write(pgbouncer / "userlist.txt", PGBOUNCER, f'"{ROLE}" "{password}"\n')


def keep(path, owner, make):
    """What a file says; it is made if it is not there."""
    if not path.exists():
        write(path, owner, make())
    return path.read_text()


def write(path, owner, text):
    """Makes a file say something: whole or not at all, and only if it does not yet."""
    if path.exists() and path.read_text() == text:
        return
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    beside.write_text(text)
    beside.chmod(0o400)
    os.chown(beside, *owner)
    os.chown(path.parent, *owner)
    path.parent.chmod(0o700)
    beside.rename(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
