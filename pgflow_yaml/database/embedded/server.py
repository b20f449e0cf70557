"""The embedded PostgreSQL: the first user starts it, and it stops after the last one."""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Self

from pgflow_yaml.database.embedded import keeper
from pgflow_yaml.database.embedded.files import (
    ServerPaths,
    forget,
    has_data,
    locked,
    prepare,
    programs,
    reason,
    server_paths,
)
from pgflow_yaml.database.embedded.settings import SETTINGS, environment, start_command
from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_START_SECONDS = 60
_LEAVE_SECONDS = 10
_LOG_BYTES = 1_000_000
_keepers: list[subprocess.Popen[bytes]] = []


@dataclass(slots=True, kw_only=True)
class LocalServer:
    """One user's hold on the server of a project, which runs while anyone holds it."""

    paths: ServerPaths
    settings: Mapping[str, str]
    _hold: int | None = field(default=None, init=False)

    def acquire(self) -> None:
        """Join the users of the server, and start it if it does not run."""
        self._hold = os.open(self.paths.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._hold, fcntl.LOCK_SH)  # waits while a keeper stops the server
            self.ensure()
        except BaseException:
            self.release()
            raise

    def ensure(self) -> None:
        """Start the server if it does not run; call it again when a connection breaks."""
        if self._hold is None:
            raise Unavailable("the embedded database was already released by this process")
        if _answers(self.paths):
            return
        with _system_errors_explained(), locked(self.paths.home / "start.lock"):
            if not _answers(self.paths):
                _start(self.paths, self.settings)

    def conninfo(self, database: str = "pgflow") -> str:
        """Return the connection string."""
        return f"host={self.paths.socket} port=5432 user=pgflow dbname={database}"

    def release(self) -> None:
        """Release the hold; the keeper stops the server after the last one."""
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None

    def __enter__(self) -> Self:
        """Use the hold that `open_server` took."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the hold."""
        self.release()


def open_server(project_dir: Path, *, settings: Mapping[str, str] | None = None) -> LocalServer:
    """Start or join the server of a project; `settings` of PostgreSQL extend ours."""
    with _system_errors_explained():
        paths = server_paths(project_dir)
        server = LocalServer(paths=paths, settings={**SETTINGS, **(settings or {})})
        server.acquire()
    return server


def running(project_dir: Path) -> str | None:
    """Return the connection string of a project's server if it runs; start and make nothing."""
    if not has_data(project_dir):
        return None
    server = LocalServer(paths=server_paths(project_dir), settings={})
    return server.conninfo() if _answers(server.paths) else None


def discard(project_dir: Path) -> None:
    """Delete the server of a project with its data; wait a moment for its last user to end."""
    paths = server_paths(project_dir)
    locks = [paths.home / name for name in ("users.lock", "keeper.lock")]
    deadline = time.monotonic() + _LEAVE_SECONDS
    with locks[0].open("a") as users, locks[1].open("a") as keepers:
        # The keeper first: it ends by gaining users.lock, which must be free for it until then.
        while not (_gained(keepers) and _gained(users)):
            fcntl.flock(keepers, fcntl.LOCK_UN)
            if time.monotonic() > deadline:
                raise Unavailable(f"{paths.data} is in use: end what uses it first")
            time.sleep(0.01)
        forget(paths)
        for folder in {paths.home, paths.away}:
            shutil.rmtree(folder)


def _gained(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _system_errors_explained() -> Iterator[None]:
    """Raise Unavailable, with one sentence, for an error of the system."""
    try:
        yield
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise Unavailable(
            f"the embedded database cannot run here: {message} (or give --dsn)"
        ) from error


def _answers(paths: ServerPaths) -> bool:
    """Return True if the server is ready, accepts connections, and has a keeper."""
    try:
        lines = (paths.data / "postmaster.pid").read_text().splitlines()
        if len(lines) < 8 or lines[7].strip() != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(paths.socket / ".s.PGSQL.5432"))
        with (paths.home / "keeper.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _start(paths: ServerPaths, settings: Mapping[str, str]) -> None:
    """Run a keeper until the server answers; repeat what may fail for a moment."""
    folder = programs(paths)
    prepare(paths, folder)
    command = start_command(folder / "postgres", paths, settings)
    plan = {"home": f"{paths.home}", "data": f"{paths.data}", "command": command}
    deadline = time.monotonic() + _START_SECONDS
    while True:
        code, output = _run_keeper(paths, json.dumps(plan | {"drop_to": paths.drop_to}), deadline)
        if code is None and _answers(paths):
            return
        # Code 0: another keeper is ending. Else backends of a killed server may be.
        is_temporary = code == 0 or re.search(r"shared memory block|lock file", output)
        if time.monotonic() > deadline or not is_temporary:
            log = paths.home / "server.log"
            raise Unavailable(f"the embedded database did not start: {reason(output)} (see {log})")
        time.sleep(0.1)


def _run_keeper(paths: ServerPaths, plan: str, deadline: float) -> tuple[int | None, str]:
    """Start a keeper, wait for its server or its end, and return its exit code and output."""
    log_path = paths.home / "server.log"
    if log_path.exists() and log_path.stat().st_size > _LOG_BYTES:
        log_path.unlink()
    # Private: the server logs the statements that failed, with their data.
    with os.fdopen(os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        begin = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, plan],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=paths.home,
            env=environment(),
            start_new_session=True,  # Ctrl-C in the terminal must not stop the server
        )
    _keepers[:] = [process, *(old for old in _keepers if old.poll() is None)]
    while time.monotonic() < deadline and process.poll() is None and not _answers(paths):
        time.sleep(0.01)
    return process.returncode, log_path.read_bytes()[begin:].decode(errors="replace")


@atexit.register
def _let_keepers_live() -> None:
    """Mark the keepers as ended: they may outlive us, and Python warns of running children."""
    for process in _keepers:
        process.returncode = process.poll() or 0
