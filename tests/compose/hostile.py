import ctypes
import os
import socket
import subprocess
from pathlib import Path

PROCESSES = "[0-9]*"


def environment_of_others():
    for process in Path("/proc").glob(PROCESSES):
        try:
            found = (process / "environ").read_bytes()
        except OSError:
            continue
        if b"DATABASE_URL" in found or b"passfile" in found:
            return process
    return None


def become(uid):
    os.setuid(uid)
    return os.getuid() == uid


def write(path):
    Path(path).write_text("x")
    return path


def kill_the_service():
    for process in Path("/proc").glob(PROCESSES):
        if (process / "cmdline").read_bytes().startswith(b"dropcron\0serve"):
            os.kill(int(process.name), 9)
            return process
    return None


def privileges_of_a_child():
    # A program with capabilities in its file: what does it have if a script starts it?
    quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(["dropcron", "serve", "--data", "/nonexistent"], **quiet) as child:
        try:
            status = Path(f"/proc/{child.pid}/status").read_text().splitlines()
        finally:
            child.kill()
    sets = [line.split() for line in status if line.startswith("Cap")]
    return [name for name, bits in sets if name in ("CapPrm:", "CapEff:") and int(bits, 16)]


def trust_of_postgres():
    # A server that trusts addresses answers a startup message with R and 0: nothing more to prove.
    with socket.create_connection(("postgres", 5432), timeout=5) as connection:
        body = b"\0\3\0\0user\0dropcron\0database\0dropcron\0\0"
        connection.sendall((len(body) + 4).to_bytes(4, "big") + body)
        answer = connection.recv(64)
    return answer[:1] == b"R" and int.from_bytes(answer[5:9], "big") == 0


def trace_others():
    attach = 16
    for process in Path("/proc").glob(PROCESSES):
        pid = int(process.name)
        if pid != os.getpid() and ctypes.CDLL(None).ptrace(attach, pid, 0, 0) == 0:
            return pid
    return None


ATTEMPTS = {
    "password": Path("/run/secrets/pgpass").read_text,
    "token": Path("/run/secrets/token").read_text,
    "list of secrets": lambda: list(Path("/run/secrets").iterdir()),
    "list of data": lambda: list(Path("/data").iterdir()),
    "journal": lambda: [path.read_bytes() for path in Path("/data/journal").iterdir()],
    "environment of others": environment_of_others,
    "memory of process 1": lambda: Path("/proc/1/mem").open("rb").close() or True,
    "root": lambda: become(0),
    "the user of dropcron": lambda: become(10001),
    "another script": lambda: write("/scripts/planted.py"),
    "the program": lambda: write("/usr/local/bin/dropcron"),
    "the service": kill_the_service,
    "privileges of a child": privileges_of_a_child,
    "the database": trust_of_postgres,
    "the memory of others": trace_others,
}


def run():
    """What each attempt brings, if it brings anything."""
    got = {}
    for name, attempt in ATTEMPTS.items():
        try:
            found = attempt()
        except OSError:
            continue
        if found:
            got[name] = str(found)[:200]
    return {"uid": os.getuid(), "tried": len(ATTEMPTS), "got": got}
