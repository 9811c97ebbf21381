# /// script
# requires-python = ">=3.9"
#
# [tool.dropcron]
# # Without a schedule it runs only when asked. With your own page below, add:
# # schedule = "0 7 * * *"
# # timezone = "Europe/Berlin"
# timeout = "1m"
# retries = { max = 2, delay = "30s", backoff = 2.0 }
# description = "Takes one number out of a web page"
# tags = ["web"]
#
# [tool.dropcron.args]
# url = "data:text/html,<p>Price:%20<b>1,284.50</b>%20EUR</p>"
# pattern = 'Price: <b>([\d.,]+)</b>'
# ///
"""Follow a number for years: a price, a count of open tickets, a water level.

The `data:` address holds its own page, so that a first run needs no network. Put your page's `url`
there, and a `pattern` whose first group is the number. A page that no longer matches is a failed
run, never a wrong number.
"""

import re
import time
import urllib.request

TIMEOUT_SECONDS = 20


def run(url, pattern, decimal_point="."):
    started = time.monotonic()
    page = fetch(url)
    response_ms = round((time.monotonic() - started) * 1000, 1)
    return {"number": first_number(page, pattern, decimal_point), "response_ms": response_ms}


def fetch(url):
    request = urllib.request.Request(url, headers={"User-Agent": "page_number.py (dropcron)"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        charset = response.headers.get_content_charset() or "utf-8"
        return response.read().decode(charset, errors="replace")


def first_number(page, pattern, decimal_point):
    match = re.search(pattern, page)
    if match is None:
        raise LookupError(f"nothing matches `{pattern}`; the page begins with: {page[:200]!r}")
    return to_number(match.group(1), decimal_point)


def to_number(text, decimal_point):
    """`1,284.50` with a point, `1.284,50` with a comma: other signs only group the digits."""
    kept = re.sub(rf"[^\d{re.escape(decimal_point)}-]", "", text)
    return float(kept.replace(decimal_point, "."))
