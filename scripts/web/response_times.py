# /// script
# requires-python = ">=3.9"
# dependencies = ["httpx>=0.27"]
#
# [tool.dropcron]
# # Without a schedule it runs only when asked. With your own pages below, add:
# # schedule = "*/5 * * * *"
# timeout = "1m"
# args = { urls = ["https://www.python.org/"] }
# description = "Which pages answer, and how fast"
# tags = ["web"]
# ///
"""Fetches many pages at once with `httpx`, which dropcron installs because the header asks for it.

A page that answers with an error, or not at all, makes `ok` smaller and is a line of the output;
the run succeeds, so that the numbers of that time are kept too.
"""

import asyncio
import time

import httpx


async def run(urls, limit=20, timeout_seconds=10):
    places = asyncio.Semaphore(limit)
    async with httpx.AsyncClient(follow_redirects=True, timeout=timeout_seconds) as client:
        answers = await asyncio.gather(*(answer(client, url, places) for url in urls))
    for url, (state, milliseconds, _) in zip(urls, answers):
        print(f"{url}: {state} after {milliseconds} ms")
    return summary(answers)


async def answer(client, url, places):
    async with places:
        started = time.monotonic()
        try:
            response = await client.get(url)
            state, ok = f"status {response.status_code}", response.is_success
        except httpx.HTTPError as error:
            state, ok = f"{type(error).__name__} {error}".rstrip(), False
        return state, round((time.monotonic() - started) * 1000, 1), ok


def summary(answers):
    fetched = [milliseconds for _, milliseconds, ok in answers if ok]
    return {"pages": len(answers), "ok": len(fetched), "slowest_ms": max(fetched, default=None)}
