"""A fresh database with flows, and real `pgflow-yaml worker` processes that work on it.

Durations come from the stamps of the database, so that no polling of ours is in them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from pgflow_yaml import Client, load
from pgflow_yaml.database import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server import Server

HANDLERS = """
import time


def nothing(_):
    return {"ok": True}


def chatty(_):
    for n in range(20):
        print(f"line {n} of what a task has to say")
    return {"ok": True}


def rest(_):
    time.sleep(0.005)
    return {"ok": True}


def stamp(_):
    return {"at": time.monotonic()}


def numbers(n):
    return {"at": time.monotonic(), "items": list(range(n))}


def echo(item):
    return item


def again(ctx):
    if ctx.attempt == 1:
        raise ValueError("once")


def count(outputs):
    return len(outputs["each"])
"""
JOB = "flow: job_{0}\nsteps:\n  job: {{handler: farm_handlers.{0}}}\n"
FAN = """
flow: fan_{0}
input: {{n: {{type: integer}}}}
steps:
  list: {{handler: farm_handlers.numbers, with: {{n: "${{{{ input.n }}}}"}}}}
  each: {{handler: farm_handlers.{0}, depends_on: [list], map: steps.list.output.items}}
  last: {{handler: farm_handlers.count, depends_on: [each]}}
"""
# A task given back before it was begun has an attempt that does not count, and no crash.
MISTAKES = """
select (select count(*) from pgflow.violations())
  + (select count(*) from pgflow.queue_violations())
  + (select count(*) from pgflow.step_tasks
     where status <> 'completed' or attempts_count - uncounted <> 1 or crashes_count > 0)
  + (select count(*) from pgflow.runs where status <> 'completed')
  + (select count(*) from pgflow.task_errors)"""
JOB_SECONDS = """
select extract(epoch from max(completed_at) - min(started_at))
from pgflow.step_tasks where run_id = any(%s::uuid[])"""
MAP_SECONDS = """
select extract(epoch from completed_at - started_at)
from pgflow.step_states where run_id = %s::uuid and step_slug = 'each'"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of all measurements on farms."""

    rounds: int = 5
    starts: int = 200
    widths: tuple[int, ...] = (500, 2000, 8000, 30_000, 100_000)
    parked: int = 1_000_000
    claims: int = 40
    finished: int = 100_000
    chain: int = 1000
    memory: int = 200_000
    tasks: int = 20_000
    resting: int = 4000
    slow_map: int = 20_000
    late: int = 25
    pruned: int = 1_000_000


FULL = Sizes()
SHORT = Sizes(1, 10, (200, 1000), 20_000, 5, 5000, 30, 2000, 400, 100, 1000, 1, 5000)


class Farm:
    """One database of a benchmark, its client, its flows, and the folder of their handlers."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        name, self.uri = server.fresh(with_pgmq=False)
        stack.callback(server.drop, name)
        migrate.apply(self.uri)
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (self.folder / "farm_handlers.py").write_text(HANDLERS)
        self.client = stack.enter_context(Client(self.uri))
        self.db = stack.enter_context(psycopg.connect(self.uri, autocommit=True))
        for flow, handlers in ((JOB, ("nothing", "rest", "stamp")), (FAN, ("echo", "rest"))):
            for handler in handlers:
                self.deploy(flow.format(handler))

    def deploy(self, text: str) -> None:
        """Deploy a flow from its YAML."""
        path = self.folder / "flow.yaml"
        path.write_text(text)
        self.client.deploy(load(path))

    def one(self, query: str, *arguments: object) -> Any:
        """Return the first column of the first row."""
        row = self.db.execute(query.encode(), arguments).fetchone()
        return row[0] if row else None

    @contextmanager
    def workers(self, count: int, *options: str) -> Iterator[list[int]]:
        """Run worker processes; yield their process ids when all are ready."""
        command = [sys.executable, "-m", "pgflow_yaml", "worker", *options]
        env = {**os.environ, "DATABASE_URL": self.uri}
        known = self.one("select count(*) from pgflow.workers")
        with (self.folder / "workers.log").open("ab") as log:
            processes = [
                subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)
                for _ in range(count)
            ]
        try:
            while self.one("select count(*) from pgflow.workers") < known + count:
                self._check(processes)
                time.sleep(0.05)
            yield [process.pid for process in processes]
            self._check(processes)
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(60)

    def _check(self, processes: list[subprocess.Popen[bytes]]) -> None:
        if any(process.poll() is not None for process in processes):
            log = (self.folder / "workers.log").read_text()
            raise RuntimeError(f"a worker ended: {log[-500:]}")

    def start(self, flow: str, runs: int = 1, **run_input: Any) -> list[str]:
        """Start runs with the same input."""
        return self.client.start_many(flow, [run_input] * runs)

    def until_idle(self, *, seconds: float = 600) -> None:
        """Wait until no run is under way."""
        deadline = time.monotonic() + seconds
        while self.one("select exists (select from pgflow.runs where status = 'started')"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"runs are still under way after {seconds:g} s")
            time.sleep(0.02)

    def jobs(self, runs: int, handler: str = "nothing") -> float:
        """Run one step many times; return tasks a second from first to last task."""
        ids = self.start(f"job_{handler}", runs)
        self.until_idle()
        return runs / float(self.one(JOB_SECONDS, ids))

    def fan(self, width: int, handler: str = "echo") -> float:
        """Run one map; return its tasks a second from its begin to its end."""
        (run,) = self.start(f"fan_{handler}", n=width)
        self.until_idle()
        return width / float(self.one(MAP_SECONDS, run))

    def delays(self, started: Mapping[str, float]) -> list[float]:
        """Return the ms from each start to the call of the first handler, shortest first."""
        delays = []
        for run, stamp in started.items():
            output = self.client.wait(run, timeout=60).steps[0].output
            if not isinstance(output, dict) or not isinstance(output["at"], float):
                raise TypeError(f"not the output of the first handler: {output}")
            delays.append(1000 * (output["at"] - stamp))
        return sorted(delays)

    def mistakes(self) -> int:
        """Count broken invariants, and tasks lost, failed, or done twice."""
        return int(self.one(MISTAKES))


@contextmanager
def farms(server: Server, count: int = 1) -> Iterator[list[Farm]]:
    """Make some farms and remove them at the end."""
    with ExitStack() as stack:
        yield [Farm(server, stack) for _ in range(count)]
