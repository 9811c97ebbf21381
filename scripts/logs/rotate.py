# /// script
# requires-python = ">=3.9"
#
# [tool.dropcron]
# schedule = "15 3 * * *"
# description = "Compresses large log files and keeps the newest archives"
# tags = ["logs"]
#
# [tool.dropcron.args]
# directory = "/var/log"
# pattern = "*.log"
# over_mib = 100
# keep = 7
# dry_run = true
# ///
"""Arguments from the header: set `dry_run = false` once its log shows what you want to happen.

A log is copied, then emptied in place, because its writer keeps the file open. Lines written
between the two steps are lost, as with logrotate's `copytruncate`.
"""

import glob
import gzip
import os
import shutil
import time
from pathlib import Path

MIB = 1024**2
DIGIT = "[0-9]"


def run(directory, pattern="*.log", over_mib=100, keep=7, dry_run=True):
    if keep < 1:
        raise ValueError(f"`keep` must be at least 1, it is {keep}")
    logs = find_logs(Path(directory), pattern)
    sizes = {log: log.stat().st_size for log in logs}
    large = [log for log in logs if sizes[log] > over_mib * MIB]
    # What is about to become an archive counts as one.
    expired = [old for log in logs for old in archives(log)[keep - (log in large) :]]
    carry_out("rotate", rotate, large, dry_run)
    carry_out("remove", Path.unlink, expired, dry_run)
    return {
        "logs": len(logs),
        "rotated": len(large),
        "rotated_mib": round(sum(sizes[log] for log in large) / MIB, 1),
        "removed": len(expired),
        "dry_run": dry_run,
    }


def find_logs(directory, pattern):
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} is not a directory")
    return sorted(path for path in directory.glob(pattern) if path.is_file())


def archives(log):
    """Newest first: their names sort by time."""
    pattern = f"{glob.escape(log.name)}.{DIGIT * 8}T{DIGIT * 6}Z.gz"
    return sorted(log.parent.glob(pattern), reverse=True)


def carry_out(verb, action, paths, dry_run):
    for path in paths:
        print(f"{'would ' if dry_run else ''}{verb} {path}")
        if not dry_run:
            action(path)


def rotate(log):
    archive = log.with_name(log.name + time.strftime(".%Y%m%dT%H%M%SZ.gz", time.gmtime()))
    with log.open("rb") as source, archive.open("xb") as target:
        os.fchmod(target.fileno(), log.stat().st_mode & 0o777)
        with gzip.GzipFile(fileobj=target, mode="wb") as compressed:
            shutil.copyfileobj(source, compressed)
        # The copy must be on disk before the original goes.
        target.flush()
        os.fsync(target.fileno())
    os.truncate(log, 0)
