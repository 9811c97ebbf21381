# /// script
# requires-python = ">=3.9"
#
# [tool.dropcron]
# # Without a schedule it runs only when asked. Set QUERY_DATABASE_URL where dropcron starts; add:
# # schedule = "*/15 * * * *"
# timeout = "2m"
# env = ["QUERY_DATABASE_URL"]
# description = "Charts the answer of one SQL query"
# tags = ["postgres"]
#
# [tool.dropcron.args]
# query = """
#   SELECT pg_database_size(current_database()) AS database_bytes, count(*) AS connections
#   FROM pg_stat_activity
# """
# ///
"""Any number that SQL can give: one row, each column a series.

A script sees few environment variables; `env` in the header lets one more through, here the
connection: `QUERY_DATABASE_URL=postgres://reader:secret@db.example.com/shop`. The query runs in a
read-only transaction.
"""

import json
import os
import subprocess
from urllib.parse import unquote, urlsplit

VARIABLE = "QUERY_DATABASE_URL"


def run(query):
    rows = json.loads(psql(connection_url(), as_json(query)))
    if len(rows) != 1:
        raise ValueError(f"the query must return one row, it returned {len(rows)}")
    return rows[0]


def connection_url():
    url = os.environ.get(VARIABLE)
    if not url:
        raise LookupError(f"`{VARIABLE}` is not set; set it where dropcron is started")
    return url


def as_json(query):
    """Postgres writes the JSON itself, so numbers stay numbers."""
    return f"SELECT coalesce(json_agg(answer), '[]') FROM ({query.strip().rstrip(';')}) AS answer"


def psql(url, statement):
    address, password = without_password(url)
    command = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password"]
    command += ["--set=ON_ERROR_STOP=1", f"--dbname={address}"]
    command += ["--command=BEGIN READ ONLY", f"--command={statement}"]
    environment = {**os.environ, "PGPASSWORD": password} if password else None
    finished = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if finished.returncode != 0:
        raise RuntimeError("psql failed; its message is in the log of this run")
    return finished.stdout


def without_password(url):
    """Command lines can be read by every user of a machine, environments cannot."""
    parts = urlsplit(url)
    if not parts.password:
        return url, None
    user, _, host = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    return parts._replace(netloc=f"{user}@{host}").geturl(), unquote(parts.password)
