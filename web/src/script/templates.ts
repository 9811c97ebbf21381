/** Scripts to start from; each runs as it stands. */
export const TEMPLATES = {
  number: `# /// script
# [tool.dropcron]
# schedule = "30 6 * * *"
# timezone = "Europe/Berlin"
# timeout = "1m"
# retries = { max = 2, delay = "30s" }
# value = { series = "price", unit = "EUR", min = 0, max_change = "30%", stale_after = "26h" }
# description = "Fetches a number every morning"
# ///
import json
import urllib.request


def run():
    with urllib.request.urlopen("https://example.org/price.json", timeout=20) as page:
        return {"price": json.load(page)["price"]}
`,
  check: `# /// script
# [tool.dropcron]
# schedule = "*/10 * * * *"
# timeout = "30s"
# description = "Checks that a page answers, and how quickly"
# ///
import time
import urllib.request


def run():
    start = time.monotonic()
    with urllib.request.urlopen("https://example.org/", timeout=20) as page:
        print(page.status, page.reason)
    return {"seconds": round(time.monotonic() - start, 3)}
`,
  async: `# /// script
# [tool.dropcron]
# schedule = "@hourly"
# description = "Asks many hosts at once"
# ///
import asyncio

HOSTS = ["example.org", "example.net"]


async def answers(host):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, 443), 5)
    except OSError as error:
        print(f"{host}: {error}")
        return False
    writer.close()
    return True


async def run():
    found = await asyncio.gather(*(answers(host) for host in HOSTS))
    return dict(zip(HOSTS, found))
`,
  minimal: `# /// script
# [tool.dropcron]
# schedule = "@daily"
# ///
def run():
    return 42
`,
} as const

/** The name of a template. */
export type TemplateName = keyof typeof TEMPLATES
