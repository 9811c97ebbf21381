/** Scripts that people of the tests write. */

/** Returns a number that goes up, every two seconds. */
export const COUNTER = `# /// script
# [tool.dropcron]
# schedule = "@every 2s"
# description = "Counts"
# tags = ["numbers"]
# value = { series = "count", unit = "pcs", min = 0, max = 100000000000 }
# ///
import time


def run():
    print("\\x1b[32mcounting\\x1b[0m <b>not bold</b>")
    return {"count": int(time.time() * 10), "exact": 12345678901234567890}
`

/** Prints a line for each signal that it is given, and goes on until the last. */
export function talker(signalDirectory: string): string {
  return `# /// script
# [tool.dropcron]
# description = "Talks when it is asked to"
# ///
import os
import time


def run():
    print("first words", flush=True)
    told = 0
    while True:
        if os.path.exists(f"${signalDirectory}/say-{told}"):
            print(f"\\x1b[31msignal {told}\\x1b[0m heard", flush=True)
            told += 1
        time.sleep(0.05)
`
}

export const QUIET = `# /// script
# [tool.dropcron]
# schedule = "0 3 1 1 *"
# timezone = "Asia/Tokyo"
# description = "Runs at new year"
# owner = "ada@example.org"
# ///
def run(city="Tokyo"):
    return city
`

export const BREAKABLE = `# /// script
# [tool.dropcron]
# timeout = "1m"
# ///
def run():
    return [{"host": "a", "days": 12}, {"host": "b", "days": 40}]
`
