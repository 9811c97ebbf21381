# /// script
# requires-python = ">=3.9"
#
# [tool.dropcron]
# schedule = "* * * * *"
# missed = "skip"
# timeout = "50s"
# args = { hosts = ["localhost:22"] }
# description = "Which machines answer, and how fast"
# tags = ["fleet"]
# ///
"""An `async def run`: a hundred hosts at a time take as long as the slowest one.

A refused connection is an answer too: the machine is up, and nothing listens on that port.
"""

import asyncio
import errno
import time


async def run(hosts, limit=100, timeout_seconds=3):
    places = asyncio.Semaphore(limit)
    answers = await asyncio.gather(*(check(host, places, timeout_seconds) for host in hosts))
    for host, (state, milliseconds) in zip(hosts, answers):
        print(f"{host}: {state} after {milliseconds} ms")
    return summary(answers)


async def check(host, places, timeout_seconds):
    name, _, port = host.rpartition(":")
    async with places:
        started = time.monotonic()
        state = await connect(name, int(port), timeout_seconds)
        return state, round((time.monotonic() - started) * 1000, 1)


async def connect(name, port, timeout_seconds):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(name, port), timeout_seconds)
    except asyncio.TimeoutError:
        return "silent (timeout)"
    except OSError as error:
        return "closed" if refused(error) else f"silent ({error})"
    writer.close()
    return "open"


def refused(error):
    """A name with several addresses fails with one error that has the others in its text."""
    return f"[Errno {errno.ECONNREFUSED}]" in str(error)


def summary(answers):
    reachable = [milliseconds for state, milliseconds in answers if state in ("open", "closed")]
    return {
        "checked": len(answers),
        "reachable": len(reachable),
        "open": sum(state == "open" for state, _ in answers),
        "slowest_ms": max(reachable, default=None),
    }
