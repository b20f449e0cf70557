"""Run the embedded PostgreSQL until its last user has ended.

This is a separate program: `server.py` starts it as a file, in its own session, without
site-packages. Each user of the server holds a shared lock on one file, which the kernel frees
however the user ends; when the keeper gets the exclusive lock, the last user is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


def main(spec: str) -> int:
    """Run a server (JSON: home, data, command, drop_to) until it ends or has no user."""
    plan = json.loads(spec)
    home, data = Path(plan["home"]), Path(plan["data"])
    lock = os.open(home / "keeper.lock", os.O_RDWR | os.O_CREAT, 0o600)
    # The exclusive lock proves that a server runs, so it is taken only when ours can start.
    if not _gained(lock, fcntl.LOCK_SH):
        return 0
    _settle_predecessor(data)
    if not _gained(lock, fcntl.LOCK_EX):
        return 0
    user, group = plan["drop_to"] or (None, None)
    others: list[int] | None = None if user is None else []
    server = subprocess.Popen(
        plan["command"], cwd=home, user=user, group=group, extra_groups=others, umask=0o077
    )
    signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGINT))
    threading.Thread(target=_stop_when_unused, args=(home, server), daemon=True).start()
    return server.wait()


def _stop_when_unused(home: Path, server: subprocess.Popen[bytes]) -> None:
    # Held until this process ends: a new user waits for that, and then starts a new server.
    users = os.open(home / "users.lock", os.O_RDWR)
    fcntl.flock(users, fcntl.LOCK_EX)
    server.send_signal(signal.SIGINT)


def _gained(lock: int, kind: int) -> bool:
    """Take the lock, or return False; a process that checks for a keeper holds it briefly."""
    for _ in range(50):
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def _settle_predecessor(data: Path) -> None:
    """Stop a server whose keeper was killed, and neutralise its pid file.

    After a restart of the machine the number in the file may belong to anything, and the server
    would refuse to start. With its own parent's number it takes the file for stale, yet it still
    looks for backends of a killed predecessor, which it does not without the file.
    """
    pid_file = data / "postmaster.pid"
    try:
        first, *rest = pid_file.read_text().splitlines(keepends=True)
        pid = int(first)
    except (FileNotFoundError, ValueError):
        return
    deadline = time.monotonic() + 20
    while _serves(pid, data) and time.monotonic() < deadline:
        os.kill(pid, signal.SIGINT)
        time.sleep(0.05)
    if pid_file.exists() and not _serves(pid, data):
        pid_file.write_text("".join([f"{os.getpid()}\n", *rest]))


def _serves(pid: int, data: Path) -> bool:
    """Return True if this process is a server of this data."""
    entry = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self").exists():
        try:
            return str(data).encode() in entry.read_bytes().split(b"\0")
        except OSError:
            return False
    process = subprocess.run(
        ["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return f"-D {data} " in process.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
