# /// script
# requires-python = ">=3.9"
#
# [tool.dropcron]
# # Without a schedule it runs only when asked. With your own host below, add:
# # schedule = "@daily"
# timeout = "1m"
# args = { host = "localhost", port = 443, fail_below_days = 14 }
# description = "Days until a host's certificate expires"
# owner = "platform"
# tags = ["tls"]
# ///
"""A run that fails on purpose: too few days left is an exception, and people hear of failed runs.

`ca_file` names the authority of a private certificate; without it the system's authorities count.
"""

import socket
import ssl
import time
from datetime import datetime, timezone

SECONDS_PER_DAY = 86_400
TIMEOUT_SECONDS = 20


def run(host, port=443, fail_below_days=14, ca_file=None):
    certificate = fetch_certificate(host, port, ca_file)
    expires = ssl.cert_time_to_seconds(certificate["notAfter"])
    days_left = round((expires - time.time()) / SECONDS_PER_DAY, 1)
    if days_left < fail_below_days:
        raise RuntimeError(f"{host}:{port}: the certificate expires in {days_left} days; renew it")
    return {
        "days_left": days_left,
        "expires_at": datetime.fromtimestamp(expires, timezone.utc).isoformat(),
    }


def fetch_certificate(host, port, ca_file):
    """Verified: a wrong name, an unknown authority or a past date fails as it does for clients."""
    context = ssl.create_default_context(cafile=ca_file)
    with socket.create_connection((host, port), timeout=TIMEOUT_SECONDS) as connection:
        with context.wrap_socket(connection, server_hostname=host) as channel:
            return channel.getpeercert()
