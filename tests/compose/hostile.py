import ctypes
import glob
import os
import socket
import subprocess


def attempt(got, name, action):
    """What an action brings, if it brings anything."""
    try:
        found = action()
    except (OSError, subprocess.SubprocessError):
        return
    if found:
        got[name] = str(found)[:200]


def read(path):
    with open(path, "rb") as file:
        return file.read(4096)


def environment_of_others():
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            found = read(path)
        except OSError:
            continue
        if b"DATABASE_URL" in found or b"passfile" in found:
            return path
    return None


def become(uid):
    os.setuid(uid)
    return os.getuid() == uid


def write(path):
    with open(path, "w") as file:
        file.write("x")
    return path


def is_alive_after_kill():
    # The service is the child of process 1.
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        if b"dropcron\0serve" in read(path) and b"tini" not in read(path):
            os.kill(int(path.split("/")[2]), 9)
            return path
    return None


def keep_as_root():
    finished = subprocess.run(["dropcron", "keep", "--help"], capture_output=True, timeout=10, env={"PATH": os.environ["PATH"]})
    status = read("/proc/self/status").decode()
    held = [line for line in status.splitlines() if line.startswith(("CapEff", "CapPrm")) and int(line.split()[1], 16)]
    return held or (finished.returncode == 0 and b"root" in finished.stdout)


def privileges_of_a_child():
    # A program with capabilities in its file: what would it have if a script started it?
    child = subprocess.Popen(["dropcron", "serve", "--data", "/nonexistent"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        status = read(f"/proc/{child.pid}/status").decode()
        return [line for line in status.splitlines() if line.startswith("CapEff") and int(line.split()[1], 16)]
    finally:
        child.kill()
        child.wait()


def trusted_by_postgres():
    # A server that trusts addresses would answer a startup message with R 0 (authentication is done).
    with socket.create_connection(("postgres", 5432), timeout=5) as connection:
        body = b"\0\x03\0\0user\0dropcron\0database\0dropcron\0\0"
        connection.sendall((len(body) + 4).to_bytes(4, "big") + body)
        answer = connection.recv(64)
        return answer[:1] == b"R" and int.from_bytes(answer[5:9], "big") == 0


def trace_others():
    for path in glob.glob("/proc/[0-9]*"):
        pid = int(path.rpartition("/")[2])
        if pid != os.getpid() and ctypes.CDLL(None).ptrace(16, pid, 0, 0) == 0:
            return path
    return None


def run():
    got = {}
    attempts = {
        "password": lambda: read("/run/secrets/pgpass"),
        "token": lambda: read("/run/secrets/token"),
        "list of secrets": lambda: os.listdir("/run/secrets"),
        "list of data": lambda: os.listdir("/data"),
        "journal": lambda: [read(path) for path in glob.glob("/data/journal/*")],
        "environment of others": environment_of_others,
        "memory of process 1": lambda: read("/proc/1/mem"),
        "root": lambda: become(0),
        "the user of dropcron": lambda: become(10001),
        "a scripts directory to write": lambda: write("/scripts/planted.py"),
        "the program": lambda: write("/usr/local/bin/dropcron"),
        "the service, killed": is_alive_after_kill,
        "a keeper": keep_as_root,
        "privileges of the program": privileges_of_a_child,
        "the database": trusted_by_postgres,
        "tracing": trace_others,
    }
    for name, action in attempts.items():
        attempt(got, name, action)
    return {"uid": os.getuid(), "tried": len(attempts), "got": got}
