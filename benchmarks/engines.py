"""Handlers in processes, on Dask and on Ray, each beside its goal: X-G1, X-G2, X-G3 and X-G5.

    .venv/bin/python benchmarks/engines.py        # four minutes; `make bench-scale` runs it, too

An engine that is not installed is left out: `make test-executors` installs both. Plain is the
engine alone, asked for all calls at once; its rounds alternate with ours.
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
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm import MAP_SECONDS, Farm
from figures import Spread, Target, table, target_table
from server import WORK, Server

from pgflow_yaml import Worker
from pgflow_yaml.worker.calls import Handlers
from pgflow_yaml.worker.engines import flight
from pgflow_yaml.worker.engines.schemes import engine_of
from pgflow_yaml.worker.executors import InEngine, Pool, in_processes
from pgflow_yaml.worker.logs import Logs
from pgflow_yaml.worker.task import RunContext, StepCall, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOTS, ROUNDS = 4, 3
EMPTY, NAPS, NAP_SECONDS = 1000, 200, 0.05
POISON = 30
CALLS = 500
BIN = Path(sys.executable).parent
APP = f"""
import os, time
from pathlib import Path

def split(input): return list(range(input["n"]))
def empty(item): return item
def nap(item): time.sleep({NAP_SECONDS}); return item
def poison(item, ctx):
    if item == 7:
        with Path(os.environ["PGFLOW_YAML_APP_DIR"], "deaths").open("a") as file: file.write("x")
        os.kill(os.getpid(), 9)
    return item
"""
FLOW = """
flow: {0}
input: {{n: {{type: integer}}}}
steps:
  split: {{handler: engine_app.split}}
  each:
    handler: engine_app.{0}
    depends_on: [split]
    map: steps.split.output
    fail_fast: false
    retry: {{base_delay: 10ms}}
"""
FATES = "select crashes_count, status from pgflow.step_tasks where step_slug = 'each'"


@dataclass
class Cluster:
    """An engine on this machine: its address, the environment of its nodes, and how it ends."""

    name: str
    address: str
    env: dict[str, str] = field(default_factory=dict)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def _processes(env: dict[str, str], *commands: list[str]) -> Iterator[None]:
    """Run programs of the engine, each in a group of its own that is killed at the end."""
    with ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(
                command,
                env={**os.environ, **env},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.callback(process.wait, 30)
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
        yield


@contextmanager
def dask(folder: Path) -> Iterator[Cluster]:
    """Run a scheduler, and a worker of one thread for each slot."""
    port = str(_free_port())
    env = {
        "PGFLOW_YAML_APP_DIR": str(folder),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    }
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = [str(BIN / "dask"), "scheduler", *local, "--port", port]
    workers = [str(BIN / "dask"), "worker", f"tcp://127.0.0.1:{port}", *local]
    workers += ["--nworkers", str(SLOTS), "--nthreads", "1", "--local-directory", str(folder)]
    with _processes(env, scheduler, workers):
        yield Cluster("dask", f"dask://127.0.0.1:{port}")


@contextmanager
def ray(folder: Path) -> Iterator[Cluster]:
    """Run a head with some slots; it listens beyond this machine, so it asks for a token."""
    port = _free_port()
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    temp = tempfile.mkdtemp(prefix="ray-")  # the paths of sockets must be short
    words = [f"--num-cpus={SLOTS}", f"--port={port}", f"--temp-dir={temp}"]
    words += ["--include-dashboard=false", "--disable-usage-stats"]
    head = [str(BIN / "ray"), "start", "--head", "--block", *words]
    try:
        with _processes({**token, "PGFLOW_YAML_APP_DIR": str(folder)}, head):
            address = f"ray:{socket.gethostbyname(socket.gethostname())}:{port}"
            yield Cluster("ray", address, token)
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def plain(cluster: Cluster, seconds: float, count: int) -> float:
    """Return the seconds that an engine alone needs for so many calls, in a process of its own."""
    words = [sys.executable, __file__, "--plain", cluster.address, str(seconds), str(count)]
    env = {**os.environ, **cluster.env}
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=env)
    return float(done.stdout.splitlines()[-1])


def _nap(seconds: float) -> None:
    time.sleep(seconds)  # Ray takes no built-in function


def _plain(address: str, seconds: float, count: int) -> float:
    """Be that process."""
    if address.startswith("ray:"):
        import ray as engine  # noqa: PLC0415 (in a process of its own)

        engine.init(address=address.removeprefix("ray:"), log_to_driver=False)
        call = engine.remote(max_retries=0)(_nap)

        def run(calls: int) -> None:
            engine.get([call.remote(seconds) for _ in range(calls)])

    else:
        from distributed import Client  # noqa: PLC0415 (as above)

        client = Client(address.replace("dask:", "tcp:"))
        client.wait_for_workers(SLOTS, timeout=60)

        def run(calls: int) -> None:
            client.gather(client.map(_nap, [seconds] * calls, pure=False))

    run(2 * SLOTS)
    began = time.perf_counter()
    run(count)
    return time.perf_counter() - began


@contextmanager
def _worker(farm: Farm, executor: str, env: dict[str, str], *, bundles: bool) -> Iterator[None]:
    """Run a worker; without bundles, it is one that knows of none."""
    os.environ.update(env)
    words = ["--executor", executor, *(() if ":" in executor else ("-c", str(SLOTS)))]
    try:
        if bundles:
            with farm.workers(1, *words):
                yield
            return
        command = [sys.executable, __file__, "--unbundled", farm.uri, str(farm.folder), executor]
        with subprocess.Popen(command, cwd=farm.folder, stderr=subprocess.DEVNULL) as process:
            try:
                yield
            finally:
                process.send_signal(signal.SIGTERM)
    finally:
        for name in env:
            del os.environ[name]


def _unbundled(uri: str, folder: Path, executor: str) -> None:
    """Be a worker that submits each task alone."""
    flight.BUNDLE_SECONDS = 0.0
    worker = Worker(
        uri, app_dir=folder, executor=InEngine(make=lambda: engine_of(executor, folder))
    )
    signal.signal(signal.SIGTERM, lambda *_: worker.stop(now=True))
    worker.run()


def _map(farm: Farm, flow: str, count: int) -> float:
    """Return the seconds of a map from its begin to its end."""
    (run,) = farm.start(flow, n=count)
    farm.until_idle()
    return float(farm.one(MAP_SECONDS, run))


@dataclass
class Overheads:
    """Milliseconds a task of empty maps, by place: the engine alone, one task a call, bundles."""

    rows: list[list[str]] = field(default_factory=list)

    def add(self, name: str, *columns: list[float] | None) -> None:
        """Add a line from seconds of rounds."""
        cells = ["–" if c is None else _ms(c) for c in columns]
        self.rows.append([name, *cells])

    def __str__(self) -> str:
        """Format a table."""
        return table(["ms a task", "the engine alone", "one task a call", "in bundles"], self.rows)


def _ms(rounds: list[float]) -> str:
    spread = Spread.of([1000 * seconds / EMPTY for seconds in rounds])
    return f"{spread.figure:.2g} ({spread.lowest:.2g}–{spread.highest:.2g})"


def here(farm: Farm, overheads: Overheads) -> None:
    """Time empty maps on threads and in processes."""
    for name in ("thread", "process"):
        with _worker(farm, name, {}, bundles=True):
            _map(farm, "empty", EMPTY)
            overheads.add(name, None, [_map(farm, "empty", EMPTY) for _ in range(ROUNDS)], None)


def beside(farm: Farm, cluster: Cluster, overheads: Overheads) -> list[Target]:
    """Time maps through the bridge beside the engine alone."""
    alone, shares, bundled, unbundled = [], [], [], []
    with _worker(farm, cluster.address, cluster.env, bundles=True):
        for flow in ("empty", "nap"):
            _map(farm, flow, NAPS)
        for _ in range(ROUNDS):
            theirs = plain(cluster, NAP_SECONDS, NAPS)
            shares.append(theirs / _map(farm, "nap", NAPS))
            alone.append(plain(cluster, 0, EMPTY))
            bundled.append(_map(farm, "empty", EMPTY))
    with _worker(farm, cluster.address, cluster.env, bundles=False):
        _map(farm, "empty", NAPS)
        unbundled = [_map(farm, "empty", EMPTY) for _ in range(ROUNDS)]
    overheads.add(cluster.name, alone, unbundled, bundled)
    share, rate = Spread.of(shares), Spread.of([EMPTY / seconds for seconds in bundled])
    return [
        Target(f"X-G2: {cluster.name}, tasks of 50 ms, × the engine alone", share, 0.9),
        Target(f"X-G3: {cluster.name}, empty tasks in bundles", rate, 1000, None, "more", "/s"),
    ]


def poison(farm: Farm, cluster: Cluster) -> list[Target]:
    """Count the processes that an item kills, and the neighbours that it harms."""
    with _worker(farm, cluster.address, cluster.env, bundles=True):
        (run,) = farm.start("poison", n=POISON)
        farm.until_idle()
    deaths = len((farm.folder / "deaths").read_text())
    rows = farm.db.execute(f"{FATES} and run_id = %s".encode(), [run]).fetchall()
    harmed = sum(1 for crashes, status in rows if status == "completed" and crashes)
    lost = POISON - 1 - sum(1 for _, status in rows if status == "completed")
    name = f"X-G5: {cluster.name}, an item that kills"
    return [
        Target(f"{name}: dead processes", Spread.of([deaths]), 5, None, "less"),
        Target(f"{name}: neighbours harmed", Spread.of([harmed + lost]), 0, None, "less"),
    ]


def calls(folder: Path) -> list[Target]:
    """Time calls of a process pool, one after the other."""
    pool = Pool(1, Handlers(folder), [in_processes()], beat=lambda: None, logs=Logs())
    pool.open()
    call = StepCall({"handler": "engine_app.empty", "timeout_ms": 40_000, "map": True})
    context = RunContext({}, run_input=lambda: None, secret=lambda _: "")
    seconds = []
    for index in range(CALLS + 20):
        row: dict[str, Any] = {"run": "r", "step": "each", "index": index, "attempt": 1, "item": 1}
        began = time.perf_counter()
        pool.submit([Task(row, call, context)])
        while not pool.results.take():
            time.sleep(0.00005)  # a busy loop would keep the threads of the pool waiting
        seconds.append(1000 * (time.perf_counter() - began))
    pool.close()
    spread = Spread.of(seconds[20:])
    return [Target("X-G1: a call of a process, p50", spread, 0.6, None, "less", "ms")]


def measured() -> list[Target]:
    """Measure all of it on a server of its own; print the table of the documentation."""
    server = Server(WORK)
    overheads, targets = Overheads(), []
    with ExitStack() as stack:
        stack.callback(server.close)
        farm = Farm(server, stack)
        (farm.folder / "engine_app.py").write_text(APP)
        for name in ("empty", "nap", "poison"):
            farm.deploy(FLOW.format(name))
        targets += calls(farm.folder)
        here(farm, overheads)
        for make, module in ((dask, "distributed"), (ray, "ray")):
            if find_spec(module) is None:
                continue
            with make(farm.folder) as cluster:
                _until_up(cluster)
                targets += beside(farm, cluster, overheads)
                if make is dask:
                    targets += poison(farm, cluster)
    print(f"{overheads}\n")
    return targets


def _until_up(cluster: Cluster) -> None:
    """Wait until the engine answers calls."""
    deadline = time.monotonic() + 120
    while True:
        try:
            plain(cluster, 0, SLOTS)
        except subprocess.CalledProcessError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--plain", address, seconds, count]:
            print(_plain(address, float(seconds), int(count)))
        case ["--unbundled", uri, folder, executor]:
            _unbundled(uri, Path(folder), executor)
        case _:
            print(target_table(measured()))
