"""Workers whose handlers run in an engine: what engines do to calls costs no task, and no run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.errors import Unavailable
from pgflow_yaml.worker.engines import node, wants
from pgflow_yaml.worker.executors import InEngine
from tests.executors.fake_engine import Died, FakeEngine
from tests.fixtures.forks import COMMAND
from tests.fixtures.maps import claims, map_flow
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.executors.fake_engine import Submitted
    from tests.fixtures.worker_process import StartCli
    from tests.fixtures.working import Works

HANDLERS = """
import ctypes, multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

def make(): return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
def raises(): raise OSError("no scheduler")
def wrong(): return 5

def split(input): return list(range(input.get("n", 30)))
def work(item): return item * 2
def deadly(item):
    if item == 7: ctypes.string_at(0)
    return item * 2
def slow(item):
    time.sleep(0.02)
    return item * 2
def total(outputs): return sum(outputs["work"])
def once(input, ctx):
    with Path(input["file"]).open("a") as file: file.write("x")
    Path(input["pid"]).write_text(str(os.getpid()))
    while not Path(input["go"]).exists(): time.sleep(0.01)
    return "done"
"""
ONCE = """
flow: once
input: {file: {type: string}, pid: {type: string}, go: {type: string}}
steps:
  once: {handler: far.once}
"""


@pytest.fixture(autouse=True)
def handlers(works: Works, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module of the handlers, which nodes find."""
    works.app.write("far.py", HANDLERS)
    monkeypatch.setenv("PGFLOW_YAML_APP_DIR", str(works.app.folder))
    node._handlers.cache_clear()
    yield
    node._handlers.cache_clear()


def test_a_map_runs_in_an_engine(works: Works) -> None:
    works.deploy(map_flow("work"))
    started = works.client.start("work", {"n": 300})
    engine = FakeEngine(slots=4)

    works.start(executor=InEngine(make=lambda: engine))

    assert works.ended(started.id).output == {"total": 2 * sum(range(300))}
    assert len(engine.calls) < 200  # small tasks travel together


def test_an_engine_away_costs_no_claims(works: Works, database: str) -> None:
    """X-G4: no more than two claims a task, however long it is away; then all completes."""
    works.deploy(map_flow("slow"))
    engine = FakeEngine(slots=2)
    works.start(executor=InEngine(make=lambda: engine, lease=1), lease_seconds=2)
    started = works.client.start("slow", {"n": 60})
    eventually(lambda: len(engine.calls) > 10, what="the map has begun")

    engine.go_away()
    (worker,) = eventually(
        lambda: [row for row in works.client.list_workers() if row.engine_away],
        what="the list of workers says that it waits",
    )
    assert (worker.status, worker.slots, worker.engine) == ("alive", 0, "fake:engine")
    (finding,) = [
        found.message
        for check in works.client.examine().checks
        for found in check.findings
        if "fake:engine" in found.message
    ]
    assert finding.endswith("waits for fake:engine and claims nothing")
    eventually(
        lambda: any(crashes for _, crashes in claims(database)),
        what="what ran in it crashes after a lease",
    )
    assert max(count for count, _ in claims(database)) <= 2
    engine.come_back()

    assert works.ended(started.id).output == {"total": 2 * sum(range(60))}
    assert max(count for count, _ in claims(database)) <= 3
    assert all(crashes <= 1 for _, crashes in claims(database))


def test_an_item_that_kills_its_process_leaves_the_others_alone(
    works: Works, database: str
) -> None:
    """A `ProcessPoolExecutor` loses all its calls by it: each is tried alone before it counts."""
    works.deploy(map_flow("deadly"))
    started = works.client.start("deadly", {"n": 12})

    works.start(executor=_pool(works))
    run = works.ended(started.id)

    assert run.status == "failed"
    crashes = sorted(crashes for _, crashes in claims(database))
    assert crashes == [0] * 11 + [5]


def test_a_poison_item_in_an_engine_ends_after_as_many_deaths_as_are_allowed(
    works: Works, database: str
) -> None:
    works.deploy(map_flow("work"))
    deaths = []

    def dies(call: Submitted) -> BaseException | None:
        if '"index":7,' in call.text and '"step":"work"' in call.text:
            deaths.append(call)
            return Died()
        return None

    engine = FakeEngine(slots=2)
    engine.deaths = dies
    started = works.client.start("work", {"n": 12})
    works.start(executor=InEngine(make=lambda: engine))

    assert works.ended(started.id).status == "failed"
    # One more if it was first lost in a bundle with others.
    assert 5 <= len(deaths) <= 6
    assert sorted(crashes for _, crashes in claims(database)) == [0] * 11 + [5]


def test_a_cluster_that_grows_is_told_what_waits(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no slots nothing is claimed, but the hint brings some."""
    monkeypatch.setattr(wants, "SECONDS", 0.05)
    works.deploy(map_flow("work"))
    engine = FakeEngine(slots=0)
    works.start(executor=InEngine(make=lambda: engine))
    started = works.client.start("work", {"n": 5})

    eventually(lambda: engine.wanted and engine.wanted[-1] >= 1, what="it is told")
    assert not engine.calls
    engine.slots = 2

    assert works.ended(started.id).output == {"total": 20}


@pytest.mark.parametrize("keeps", [False, True])
def test_a_worker_that_is_killed_loses_no_task_and_with_results_no_work(
    works: Works, database: str, start_cli: StartCli, tmp_path: Path, *, keeps: bool
) -> None:
    """The node goes on without its worker: what it leaves in the folder is not done again."""
    works.deploy(ONCE)
    files = {name: str(tmp_path / name) for name in ("file", "pid", "go")}
    started = works.client.start("once", files)
    words = ["worker", "--executor", "python:far.make", "--lease", "2s"]
    words += ["--results", str(tmp_path / "results")] if keeps else []
    first = start_cli(*words, dsn=database, cwd=works.app.folder)
    pid = int(eventually(lambda: Path(files["pid"]).exists() and Path(files["pid"]).read_text()))

    first.send(signal.SIGKILL)
    first.wait()
    Path(files["go"]).touch()
    if keeps:
        eventually(lambda: list(tmp_path.glob("results/*/*.json")), what="the node goes on")
    start_cli(*words, dsn=database, cwd=works.app.folder)

    assert works.ended(started.id).output == {"once": "done"}
    calls = Path(files["file"]).read_text()
    assert calls == ("x" if keeps else "xx")
    assert pid != os.getpid()


@pytest.mark.parametrize(
    ("executor", "sentence", "code"),
    [
        ("python:far.raises", "--executor python:far.raises: its function raised OSError", 3),
        ("python:far.wrong", "returned int: it must return a concurrent.futures.Executor", 2),
        ("python:far.nothing", '"nothing" does not exist in far; write --executor python:', 2),
        ("python:nomod.make", "importing nomod failed: ModuleNotFoundError", 2),
        ("dask://head", "--executor dask://head: write dask://HOST:PORT, or tls://HOST:PORT", 2),
        ("tls:head:8786", "write dask://HOST:PORT, or tls://HOST:PORT", 2),
        ("ray:head", "--executor ray:head: write ray:auto, or ray:HOST:PORT", 2),
        ("slurm://head", 'there is no "slurm://head"; write thread, process, or an engine', 2),
    ],
)
def test_an_engine_that_cannot_be_is_told_before_anything_is_claimed(
    works: Works, database: str, start_cli: StartCli, executor: str, sentence: str, code: int
) -> None:
    works.deploy(map_flow("work"))
    works.client.start("work", {"n": 5})
    worker = start_cli("worker", "--executor", executor, dsn=database, cwd=works.app.folder)
    assert worker.wait() == code
    assert sentence in worker.stderr
    assert worker.stderr.count("\n") <= 2
    assert claims(database) == []
    assert works.client.list_workers() == []


@pytest.mark.parametrize(
    ("executor", "module", "extra"),
    [("dask://127.0.0.1:9", "distributed", "dask"), ("ray:auto", "ray", "ray")],
)
def test_an_extra_that_is_missing_is_told_with_its_installation(
    works: Works, database: str, tmp_path: Path, executor: str, module: str, extra: str
) -> None:
    works.deploy(map_flow("work"))
    works.client.start("work", {"n": 5})
    (tmp_path / f"{module}.py").write_text("raise ImportError")  # as if it were not there
    path = os.pathsep.join([str(tmp_path), *sys.path])
    worker = subprocess.run(
        [COMMAND, "worker", "--executor", executor],
        env={**os.environ, "DATABASE_URL": database, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert worker.returncode == 3
    assert f"needs: pip install 'pgflow-yaml[{extra}]'" in worker.stderr
    assert worker.stderr.count("\n") <= 2
    assert claims(database) == []


def _pool(works: Works) -> InEngine:
    from pgflow_yaml.worker.engines.schemes import engine_of

    return InEngine(make=lambda: engine_of("python:far.make", works.app.folder))


def test_an_engine_that_is_away_at_the_start_ends_the_worker(works: Works) -> None:
    engine = FakeEngine()
    engine.is_away = True
    with pytest.raises(Unavailable, match="--executor fake:engine: nobody listens"):
        works.drain(executor=InEngine(make=lambda: engine))
