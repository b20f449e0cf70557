"""Clusters of two slots as processes of the tests, which can be killed and started again."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fixtures.waiting import eventually

BIN = Path(sys.executable).parent
START_SECONDS = 90

HANDLERS = """
import os, time
from pathlib import Path

def split(input): return list(range(input["n"]))
def collect(outputs): return outputs["work"]
def double(item): return item * 2
def slow(item):
    time.sleep(0.05)
    return item * 2
def deadly(item):
    if item == 7: os.kill(os.getpid(), 9)
    time.sleep(0.05)
    return item * 2
def boom(item): raise ValueError("no")
def big(item): return "x" * 3_000_000
def once(input, ctx):
    with Path(input["file"]).open("a") as file: file.write("x")
    Path(input["pid"]).write_text(str(os.getpid()))
    while not Path(input["go"]).exists(): time.sleep(0.01)
    return "done"

def parsl():
    from parsl import Config, HighThroughputExecutor
    from parsl.concurrent import ParslPoolExecutor
    from parsl.providers import LocalProvider
    provider = LocalProvider(init_blocks=1, max_blocks=1)
    workers = HighThroughputExecutor(
        max_workers_per_node=2, provider=provider, address="127.0.0.1", cores_per_worker=0.1,
        encrypted=False,
    )
    return ParslPoolExecutor(Config(executors=[workers], run_dir="parsl", usage_tracking=0))
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
    return port


class Cluster:
    """A folder with handlers, and processes that call them."""

    address: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "far.py").write_text(HANDLERS)
        # Parsl looks for its programs on the path.
        self.env = {"PATH": f"{BIN}:{os.environ['PATH']}"}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start it; returns when it takes calls."""

    def kill(self, name: str) -> None:
        """Kill -9 one of its processes with all that it has started."""
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def close(self) -> None:
        """Kill all of it."""
        for name in list(self._processes):
            self.kill(name)

    def log(self, name: str) -> str:
        """Return what a process has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _run(self, name: str, *words: str) -> None:
        nodes = {"PGFLOW_YAML_APP_DIR": str(self.folder), "PYTHONPATH": os.pathsep.join(sys.path)}
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [str(BIN / words[0]), *words[1:]],
                cwd=self.folder,
                env={**os.environ, **self.env, **nodes},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


class Parsl(Cluster):
    """An executor of Parsl, which starts its processes with the worker."""

    address = "python:far.parsl"


class Dask(Cluster):
    """A scheduler, and two workers of one thread with nannies that start them again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.address = f"dask://127.0.0.1:{self.port}"
        self.env["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "0"
        self._starts = 0

    def start(self) -> None:
        """Start both; they listen on this machine only."""
        local = ("--host", "127.0.0.1", "--no-dashboard")
        port = str(self.port)
        self._run("scheduler", "dask", "scheduler", *local, "--port", port)
        self._run(
            *("workers", "dask", "worker", f"tcp://127.0.0.1:{port}", *local),
            *("--nworkers", "2", "--nthreads", "1", "--local-directory", str(self.folder)),
        )
        self._starts += 1
        begun = "Starting established connection to"
        eventually(
            lambda: self.log("workers").count(begun) >= 2 * self._starts,
            seconds=START_SECONDS,
            what="two workers join the scheduler",
        )


class Ray(Cluster):
    """A head with two processors. It listens beyond this machine, so it asks for a token."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.address = f"ray:{socket.gethostbyname(socket.gethostname())}:{self.port}"
        self.env["RAY_AUTH_MODE"] = "token"
        self.env["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        self._temp = tempfile.mkdtemp(prefix="ray-")  # the paths of sockets must be short

    def start(self) -> None:
        """Start the head."""
        self._run(
            *("head", "ray", "start", "--head", "--block", "--num-cpus=2", f"--port={self.port}"),
            *("--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={self._temp}"),
            "--object-store-memory=100000000",
        )
        eventually(
            lambda: "Ray runtime started" in self.log("head"),
            seconds=START_SECONDS,
            what="the head of Ray starts",
        )

    def close(self) -> None:
        """Kill all of it."""
        super().close()
        shutil.rmtree(self._temp, ignore_errors=True)


CLUSTERS: dict[str, type[Cluster]] = {"dask": Dask, "ray": Ray, "parsl": Parsl}
