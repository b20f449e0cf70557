"""A fresh database with flows, and real `pgflow-yaml worker` processes that work on it.

Durations come from the stamps of the database, so that no polling of ours is in them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from pgflow_yaml import Client, load
from pgflow_yaml.database import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from server import Server

    from pgflow_yaml.language.model import Definition

HANDLERS = '''
"""What the measured flows call: as little as can be."""

from __future__ import annotations

import time


def nothing(_):
    return {"ok": True}


def rest(_):
    time.sleep(0.005)
    return {"ok": True}


def numbers(n):
    return {"began": time.time(), "items": list(range(n))}


def echo(item):
    return item


def count(given):
    return len(given["each"])
'''
JOB = "flow: {name}\nsteps:\n  job: {{handler: farm_handlers.{handler}}}\n"
FAN = """
flow: {name}
input: {{n: {{type: integer}}}}
steps:
  list: {{handler: farm_handlers.numbers, with: {{n: "${{{{ input.n }}}}"}}}}
  each: {{handler: farm_handlers.{handler}, depends_on: [list], map: steps.list.output.items}}
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
SPAN = """
select extract(epoch from max(t.completed_at) - min(t.started_at))
from pgflow.step_tasks t where t.run_id = any(%s::uuid[]) and t.step_slug = %s"""
STEP = """
select extract(epoch from s.completed_at - s.started_at)
from pgflow.step_states s where s.run_id = %s::uuid and s.step_slug = %s"""


class Farm:
    """One database of a benchmark, its client, its flows, and the folder of their handlers."""

    def __init__(self, server: Server) -> None:
        """Make all of it; `close` removes it."""
        self._server = server
        self._name, self.conninfo = server.fresh(with_pgmq=False)
        migrate.apply(self.conninfo)
        self.folder = Path(tempfile.mkdtemp(prefix="pgflow-yaml-farm-"))
        (self.folder / "farm_handlers.py").write_text(HANDLERS)
        self.client = Client(self.conninfo)
        self.db = psycopg.connect(self.conninfo, autocommit=True)
        for handler in ("nothing", "rest"):
            self.deploy(JOB.format(name=f"job_{handler}", handler=handler))
        for handler in ("echo", "rest"):
            self.deploy(FAN.format(name=f"fan_{handler}", handler=handler))

    def close(self) -> None:
        """Remove database and folder."""
        self.client.close()
        self.db.close()
        self._server.drop(self._name)
        shutil.rmtree(self.folder)

    def deploy(self, text: str) -> None:
        """Deploy a flow from its YAML."""
        path = self.folder / "flow.yaml"
        path.write_text(text)
        definition: Definition = load(path)
        self.client.deploy(definition)

    def one(self, query: str, *arguments: object) -> Any:
        """The first column of the first row."""
        row = self.db.execute(query.encode(), arguments).fetchone()
        return row[0] if row else None

    @contextmanager
    def workers(self, count: int, *options: str) -> Iterator[list[int]]:
        """So many worker processes, all of them ready; their process numbers."""
        command = [sys.executable, "-m", "pgflow_yaml", "worker", *options]
        env = {**os.environ, "DATABASE_URL": self.conninfo}
        known = self.one("select count(*) from pgflow.workers")
        with (self.folder / "workers.log").open("ab") as log:
            started = [
                subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)
                for _ in range(count)
            ]
        try:
            while self.one("select count(*) from pgflow.workers") < known + count:
                self._check(started)
                time.sleep(0.05)
            yield [process.pid for process in started]
            self._check(started)
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait(60)

    def _check(self, started: list[subprocess.Popen[bytes]]) -> None:
        if any(process.poll() is not None for process in started):
            raise RuntimeError(
                f"a worker ended: {(self.folder / 'workers.log').read_text()[-500:]}"
            )

    def start(self, flow: str, runs: int = 1, **given: Any) -> list[str]:
        """Start runs with the same input."""
        return self.client.start_many(flow, [given] * runs)

    def until_idle(self, *, seconds: float = 600) -> None:
        """Wait until no run is under way."""
        deadline = time.monotonic() + seconds
        while self.one("select exists (select from pgflow.runs where status = 'started')"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"runs are still under way after {seconds:g} s")
            time.sleep(0.02)

    def jobs(self, runs: int, handler: str = "nothing") -> float:
        """Runs of one step, from first to last task; tasks a second."""
        ids = self.start(f"job_{handler}", runs)
        self.until_idle()
        return runs / self.span(ids, "job")

    def fan(self, width: int, handler: str = "echo") -> float:
        """One map of that width; how many seconds it took, from its begin to its end."""
        (run,) = self.start(f"fan_{handler}", n=width)
        self.until_idle()
        return float(self.one(STEP, run, "each"))

    def span(self, runs: Sequence[str], step: str) -> float:
        """From the first start to the last end of a step's tasks in these runs, in seconds."""
        return float(self.one(SPAN, list(runs), step))

    def mistakes(self) -> int:
        """Broken invariants, and tasks lost, failed, or done twice."""
        return int(self.one(MISTAKES))

    def deadlocks(self) -> int:
        """How many the database has seen."""
        query = "select deadlocks from pg_stat_database where datname = current_database()"
        return int(self.one(query))


@contextmanager
def farms(server: Server, count: int = 1) -> Iterator[list[Farm]]:
    """Some farms, removed at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Farm(server))) for _ in range(count)]
