"""Clusters on this machine, each of two or three slots, that know the handlers of a test.

These tests need 350 MB of packages: `make test-executors` only collects them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.apps import App

collect_ignore_glob = [] if os.environ.get("PGFLOW_YAML_CLUSTERS") else ["test_*.py"]
SECRET = "tweet-tweet-tweet"
_DASK = "distributed.cli.dask_"


class Cluster:
    """Processes of an engine, and the address at which a worker finds it."""

    executor: str
    needs: tuple[str, ...] = ()
    inherited: tuple[str, ...] = ()
    """Variables that its nodes get from their worker."""

    def __init__(self, folder: Path, app: Path) -> None:
        self._folder = folder
        self.app = app
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PGFLOW_YAML_APP_DIR": str(app),
            "PGFLOW_YAML_SECRET_CANARY": SECRET,
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def start(self) -> None:
        """Start all of it."""

    def stop(self) -> None:
        """End all of it."""

    def run(self, *words: str) -> subprocess.Popen[bytes]:
        """Start one of its programs, in a group of its own."""
        with (self._folder / f"{words[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *words],
                env=self.env,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


class Dask(Cluster):
    """A scheduler, and three workers of one thread that their nannies start again."""

    def __init__(self, folder: Path, app: Path) -> None:
        super().__init__(folder, app)
        self.port = _free_port()
        self.executor = f"dask://127.0.0.1:{self.port}"
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start all of it, and wait for the workers."""
        self.start_scheduler()
        words = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(self._folder))
        for _ in range(3):
            self._workers.append(self.run(f"{_DASK}worker", f"tcp://127.0.0.1:{self.port}", *words))
        eventually(lambda: len(self.nodes()) == 3, what="the workers of Dask join", seconds=60)

    def start_scheduler(self) -> None:
        """Start the scheduler, at the port that it had before."""
        words = ("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        self._scheduler = self.run(f"{_DASK}scheduler", *words)

    def kill_scheduler(self) -> None:
        """Kill the scheduler."""
        assert self._scheduler is not None
        self._scheduler.kill()
        self._scheduler.wait()

    def nodes(self) -> list[int]:
        """Return the pids of the workers that the scheduler knows."""
        from distributed import Client

        with Client(f"tcp://127.0.0.1:{self.port}", timeout=30, set_as_default=False) as client:
            return list(client.run(os.getpid).values())

    def stop(self) -> None:
        """Kill all of it."""
        for process in [*self._workers, self._scheduler]:
            if process is not None:
                _kill_group(process.pid)
                process.wait()


class Ray(Cluster):
    """A head with three slots. It listens beyond this machine, so it asks for a token."""

    inherited = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")

    def __init__(self, folder: Path, app: Path) -> None:
        super().__init__(folder, app)
        self.port = _free_port()
        self.executor = f"ray:{socket.gethostbyname(socket.gethostname())}:{self.port}"
        self.env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._temp = tempfile.mkdtemp(prefix="ray-")  # the paths of sockets must be short
        self._head: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def start(self) -> None:
        """Start the head; wait until it listens."""
        words = ("start", "--head", "--block", "--num-cpus=3", f"--port={self.port}")
        quiet = ("--disable-usage-stats", "--include-dashboard=false", f"--temp-dir={self._temp}")
        self._head = self.run("ray.scripts.scripts", *words, *quiet)
        log, lines = self._folder / "ray.scripts.scripts.log", "Ray runtime started"
        self._starts += 1
        eventually(
            lambda: log.read_text().count(lines) >= self._starts, seconds=90, what="Ray starts"
        )

    def kill(self) -> None:
        """Kill the head and its workers; `ray stop` would end other clusters, too."""
        if self._head is not None:
            _kill_group(self._head.pid)
            self._head.wait()

    def stop(self) -> None:
        """Kill all of it."""
        self.kill()
        shutil.rmtree(self._temp, ignore_errors=True)


class Parsl(Cluster):
    """Two workers that a function of the user starts."""

    executor = "python:far.parsl"
    needs = ("-c", "2")
    inherited = ("PGFLOW_YAML_SECRET_CANARY", "PGFLOW_YAML_APP_DIR")


Started = TypeVar("Started", bound=Cluster)
CLUSTERS: dict[str, type[Cluster]] = {"dask": Dask, "ray": Ray, "parsl": Parsl}


@contextmanager
def running(made: Started) -> Iterator[Started]:
    """Start a cluster, and end it after the block."""
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(params=list(CLUSTERS))
def cluster(request: pytest.FixtureRequest, app: App, tmp_path: Path) -> Iterator[Cluster]:
    """Each engine, started."""
    with running(CLUSTERS[request.param](tmp_path, app.folder)) as started:
        yield started


@pytest.fixture
def dask(app: App, tmp_path: Path) -> Iterator[Dask]:
    """Dask, started."""
    with running(Dask(tmp_path, app.folder)) as started:
        yield started


@pytest.fixture
def ray(app: App, tmp_path: Path) -> Iterator[Ray]:
    """Ray, started."""
    with running(Ray(tmp_path, app.folder)) as started:
        yield started


def _free_port() -> int:
    with socket.create_server(("", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
