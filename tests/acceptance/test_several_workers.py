"""Several worker processes on the same queue: all of it once, no deadlock, and nobody is held up.

Each handler call leaves a line in a file, in the order of the calls.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml import Client, load
from tests.fixtures.roles import as_author
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fixtures.apps import App
    from tests.fixtures.worker_process import StartCli, WorkerProc

PROCESSES = 3
HANDLERS = """
import os, time
from pathlib import Path

HERE = Path(__file__).parent

def note(*facts):
    (HERE / f"{os.getpid()}.here").touch()
    while len(list(HERE.glob("*.here"))) < int(os.environ["CREW"]):
        time.sleep(0.01)  # until every process has a task: only then do they meet
    with (HERE / "effects").open("a", buffering=1) as out:
        out.write(" ".join(map(str, facts)) + "\\n")

def numbers(n):
    return list(range(n))

def each(item, ctx):
    note(os.getpid(), ctx.run_id, ctx.step, ctx.index)
    return item

def slow(item, ctx):
    time.sleep(0.01)
    return each(item, ctx)

def noted_numbers(n, ctx):
    note(os.getpid(), ctx.run_id, ctx.step, 0)
    return list(range(n))

def step(given, ctx):
    note(os.getpid(), ctx.run_id, ctx.step, 0)
    return ctx.step
"""
FAN = """
flow: fan
input: {n: {type: integer}}
steps:
  list: {handler: crew.numbers, with: {n: "${{ input.n }}"}}
  each: {handler: crew.each, depends_on: [list], map: steps.list.output}
"""
DIAMOND = """
flow: diamond
steps:
  a: {handler: crew.step}
  b: {handler: crew.step, depends_on: [a]}
  c: {handler: crew.step, depends_on: [a]}
  d: {handler: crew.step, depends_on: [b, c]}
"""


class Crew:
    """Worker processes on one database, and what their handlers did."""

    def __init__(self, conninfo: str, app: App, start_cli: StartCli) -> None:
        self.folder: Path = app.folder
        self.client = Client(as_author(conninfo))
        self.db = psycopg.connect(conninfo, autocommit=True)
        self._conninfo, self._start_cli = conninfo, start_cli
        app.write("crew.py", HANDLERS)

    def deploy(self, text: str) -> None:
        """Deploy a flow from its YAML."""
        path = self.folder / "flow.yaml"
        path.write_text(text, encoding="utf-8")
        self.client.deploy(load(path))

    def work(self, processes: int = PROCESSES) -> list[WorkerProc]:
        """Start worker processes; returns when the database knows them all."""
        workers = [
            self._start_cli("worker", dsn=self._conninfo, cwd=self.folder, CREW=str(processes))
            for _ in range(processes)
        ]
        eventually(lambda: self.one("select count(*) from pgflow.workers") == processes)
        return workers

    def one(self, query: str) -> object:
        """The first column of the first row."""
        row = self.db.execute(query.encode()).fetchone()
        return row[0] if row else None

    def until_idle(self) -> None:
        """Wait until every run has ended."""
        live = "select exists (select from pgflow.runs where status = 'started')"
        eventually(lambda: self.one(live) is False, seconds=40, what="all runs end")

    @property
    def effects(self) -> list[tuple[int, str, str, int]]:
        """Process, run, step and index of each handler call, in order."""
        lines = (self.folder / "effects").read_text().splitlines()
        facts = (line.split() for line in lines)
        return [(int(pid), run, step, int(index)) for pid, run, step, index in facts]

    def assert_once_each(self, expected: dict[tuple[str, str], int]) -> None:
        """Every task of these (run, step) was called once; no invariant broken, no deadlock."""
        calls = Counter((run, step, index) for _, run, step, index in self.effects)
        tasks = {(*key, index) for key, count in expected.items() for index in range(count)}
        assert calls == Counter(dict.fromkeys(tasks, 1))
        assert self.one("select count(*) from pgflow.violations()") == 0
        assert self.one("select count(*) from pgflow.queue_violations()") == 0
        assert self.one("select count(*) from pgflow.task_errors") == 0
        own = "from pg_stat_database where datname = current_database()"
        assert self.one(f"select deadlocks {own}") == 0


@pytest.fixture
def crew(database: str, app: App, start_cli: StartCli) -> Iterator[Crew]:
    """Nobody works yet."""
    crew = Crew(database, app, start_cli)
    yield crew
    crew.client.close()
    crew.db.close()


@pytest.mark.slow
def test_several_processes_share_one_wide_run(crew: Crew) -> None:
    """A map of 4,000: each item once, in its order in the output, and every process had a part."""
    crew.deploy(FAN)
    workers = crew.work()

    (run,) = crew.client.start_many("fan", [{"n": 4000}])
    crew.until_idle()

    assert crew.client.get(run).output == {"each": list(range(4000))}
    crew.assert_once_each({(run, "each"): 4000})
    assert {pid for pid, *_ in crew.effects} == {worker.pid for worker in workers}


@pytest.mark.slow
def test_several_processes_share_many_runs(crew: Crew) -> None:
    """300 diamonds: two finishers of one join, again and again, and each join runs once."""
    crew.deploy(DIAMOND)
    workers = crew.work()

    runs = crew.client.start_many("diamond", [{}] * 300)
    crew.until_idle()

    assert {run.status for run in crew.client.list_runs(limit=300)} == {"completed"}
    crew.assert_once_each({(run, step): 1 for run in runs for step in "abcd"})
    assert {pid for pid, *_ in crew.effects} == {worker.pid for worker in workers}


@pytest.mark.slow
def test_a_short_run_passes_a_wide_map_of_its_flow(crew: Crew) -> None:
    """Of 3,000 items of 10 ms, hardly more are called between its start and its handler.

    What the worker holds already goes first, and what it claims while the run is being started.
    """
    crew.deploy(FAN.replace("crew.numbers", "crew.noted_numbers").replace("each,", "slow,"))
    crew.work(1)
    (wide,) = crew.client.start_many("fan", [{"n": 3000}])
    eventually(lambda: (crew.folder / "effects").exists() and len(crew.effects) > 200)

    before = len(crew.effects)
    (short,) = crew.client.start_many("fan", [{"n": 0}])
    crew.client.wait(short, timeout=20)

    place = next(i for i, (_, run, *_) in enumerate(crew.effects) if run == short)
    crew.client.cancel(wide)
    assert place - before < 300
