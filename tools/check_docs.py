"""Checks what readers see: links that lead nowhere, paths of somebody's machine.

Every relative link and #anchor of a Markdown file must exist. No file may contain a path into a
home directory, or the path of this checkout, which mean nothing on other machines.
"""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
HOME_PATHS = r"(^|[^[:alnum:]_./-])/(root|home/[[:alnum:]_-]+|Users/[[:alnum:]_-]+)/"
# Ada is the person in our examples.
EXAMPLE_HOMES = re.compile(r"/(home|Users)/ada/")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
EXTERNAL = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def main():
    problems = [*broken_links(), *machine_paths()]
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


def broken_links():
    for name in git("ls-files", "--cached", "--others", "--exclude-standard", "*.md"):
        document = ROOT / name
        if document.exists():
            for target in links(document.read_text()):
                if not leads_somewhere(document, target):
                    yield f"{name}: the link `{target}` leads nowhere"


def links(markdown):
    prose = INLINE_CODE.sub("", FENCE.sub("", markdown))
    targets = (inline or reference for inline, reference in LINK.findall(prose))
    return [target for target in targets if not EXTERNAL.match(target)]


def leads_somewhere(document, target):
    path, _, anchor = unquote(target).partition("#")
    place = document.parent / path if path else document
    if not place.exists():
        return False
    return not anchor or place.suffix != ".md" or anchor in anchors(place.read_text())


def anchors(markdown):
    """As code hosts make them from headings; a repeated heading gets a number."""
    found = set()
    for heading in HEADING.findall(FENCE.sub("", markdown)):
        anchor = base = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        repetition = 0
        while anchor in found:
            repetition += 1
            anchor = f"{base}-{repetition}"
        found.add(anchor)
    return found


def machine_paths():
    search = ("grep", "--untracked", "-n", "-I")
    found = [line for line in git(*search, "-E", HOME_PATHS) if not EXAMPLE_HOMES.search(line)]
    if len(ROOT.parts) > 2:  # A checkout at /x would match half of all paths.
        found += git(*search, "-F", str(ROOT))
    for line in found:
        yield f"{line[:200]}: a path of one machine"


def git(*arguments):
    finished = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    # `git grep` ends with 1 when it found nothing.
    if finished.returncode > 1:
        sys.exit("error: the documentation is checked in a git checkout only")
    return finished.stdout.splitlines()


if __name__ == "__main__":
    main()
