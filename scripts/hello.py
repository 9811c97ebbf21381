# /// script
# requires-python = ">=3.9"
#
# [tool.dropcron]
# schedule = "@every 10s"
# args = { name = "world" }
# description = "Says hello, and how late it was"
# tags = ["example"]
# ///
"""The smallest useful script: a heartbeat that measures the scheduler.

`@every 10s` fires at whole multiples of ten seconds, so the clock itself says how late `run` was
called.
"""

import time

PERIOD_SECONDS = 10


def run(name="world"):
    late_ms = milliseconds_since_fire_time(time.time())
    print(f"hello, {name}: {late_ms} ms after the fire time")
    return {"greeting": f"hello, {name}", "late_ms": late_ms}


def milliseconds_since_fire_time(now):
    """From the nearest fire time: a clock that was set back gives a small negative number."""
    half = PERIOD_SECONDS / 2
    return round(((now + half) % PERIOD_SECONDS - half) * 1000, 1)
