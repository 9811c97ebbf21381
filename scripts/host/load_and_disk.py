# /// script
# requires-python = ">=3.9"
#
# [tool.dropcron]
# schedule = "@every 20s"
# missed = "skip"
# args = { path = "/" }
# description = "Load, memory and disk of this machine"
# tags = ["host"]
# ///
"""Numbers to chart: every number in the returned object becomes a series of its own."""

import os
import shutil
from pathlib import Path

GIB = 1024**3


def run(path="/"):
    return {"load": load(), "memory": memory(), "disk": disk(path)}


def load():
    """The one-minute average, and the same per core: above 1.0 work is waiting."""
    one_minute = os.getloadavg()[0]
    return {"one_minute": round(one_minute, 2), "per_core": round(one_minute / os.cpu_count(), 2)}


def disk(path):
    usage = shutil.disk_usage(path)
    return {
        "free_gib": round(usage.free / GIB, 2),
        "used_percent": percent(usage.used, usage.total),
    }


def memory():
    """None where the kernel has no /proc/meminfo: an absent series says more than a zero."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    kib = {}
    for line in meminfo.read_text().splitlines():
        name, amount = line.split(":")
        kib[name] = int(amount.split()[0])
    available, total = kib["MemAvailable"], kib["MemTotal"]
    return {
        "available_gib": round(available * 1024 / GIB, 2),
        "used_percent": percent(total - available, total),
    }


def percent(part, whole):
    return round(100 * part / whole, 1)
