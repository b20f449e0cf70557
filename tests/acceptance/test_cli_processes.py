"""`worker --processes`: several workers under one supervisor, which starts again those that die."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.acceptance.shell import Shell
from tests.fixtures.pooler import direct
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.worker_process import StartCli
    from tests.fixtures.working import Works

HANDLERS = """
import os, time
from pathlib import Path

def pid(item):
    time.sleep(0.02)
    return os.getpid()
def pids(outputs): return sorted(set(outputs["each"]))
def hold(input):
    Path(input["begun"]).touch()
    while not Path(input["go"]).exists(): time.sleep(0.01)
    return "done"
"""
MANY = """
flow: many
input: {items: {type: array}}
steps:
  each: {handler: many.pid, map: input.items}
  pids: {handler: many.pids, depends_on: [each]}
"""
HOLD = """
flow: hold
input: {begun: {type: string}, go: {type: string}}
steps:
  hold: {handler: many.hold}
"""
BACKENDS = """
select split_part(application_name, ' ', 2), count(*) from pg_stat_activity
where datname = current_database() and application_name like 'pgflow-yaml %%'
group by 1 order by 1"""


@pytest.fixture(autouse=True)
def handlers(works: Works) -> None:
    """The module of the handlers."""
    works.app.write("many.py", HANDLERS)


def pids(works: Works) -> list[int]:
    """Return the pids of the workers that are registered and have not stopped."""
    return sorted(row.pid for row in works.client.list_workers() if row.pid)


@direct
def test_processes_share_the_work_and_one_listener(
    works: Works, database: str, start_cli: StartCli
) -> None:
    works.deploy(MANY)
    words = ("worker", "--processes", "2", "-c", "2")
    worker = start_cli(*words, dsn=database, cwd=works.app.folder)
    eventually(lambda: len(pids(works)) == 2, what="two workers register")
    with psycopg.connect(database, autocommit=True) as db:
        works.client.close()

        def backends() -> dict[str, int]:
            return dict(db.execute(BACKENDS.encode()).fetchall())

        idle = {"listener": 1, "worker": 2}
        eventually(lambda: backends() == idle, what="three connections for two workers")

    run = works.client.start("many", {"items": list(range(60))})

    output = works.ended(run.id).output
    assert isinstance(output, dict)
    assert output["pids"] == pids(works)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert works.client.list_workers() == []


def test_a_process_that_dies_is_started_again(
    works: Works, database: str, start_cli: StartCli
) -> None:
    works.deploy(MANY)
    words = ("worker", "--processes", "2", "--lease", "1s")
    worker = start_cli(*words, dsn=database, cwd=works.app.folder)
    eventually(lambda: len(pids(works)) == 2, what="two workers register")
    before = pids(works)

    os.kill(before[0], signal.SIGKILL)

    worker.wait_for("ended by SIGKILL; it starts again in 0.5 s")
    eventually(lambda: set(pids(works)) - set(before), what="another one registers")
    run = works.client.start("many", {"items": [1]})
    assert works.ended(run.id).status == "completed"


@pytest.mark.parametrize("seconds", [False, True])
def test_signals_are_passed_on(
    works: Works, database: str, start_cli: StartCli, tmp_path: Path, *, seconds: bool
) -> None:
    """The first lets handlers end; the second gives their tasks back, which is exit code 1."""
    works.deploy(HOLD)
    begun, go = tmp_path / "begun", tmp_path / "go"
    run = works.client.start("hold", {"begun": str(begun), "go": str(go)})
    worker = start_cli("worker", "--processes", "2", dsn=database, cwd=works.app.folder)
    eventually(begun.exists, what="the handler begins")

    worker.send(signal.SIGINT)
    worker.wait_for("stopping")
    if seconds:
        worker.send(signal.SIGINT)
        assert worker.wait() == 1
        assert works.client.get(run.id).status == "started"
    else:
        go.touch()
        assert worker.wait() == 0
        assert works.client.get(run.id).status == "completed"


def test_processes_end_with_their_supervisor(
    works: Works, database: str, start_cli: StartCli
) -> None:
    worker = start_cli("worker", "--processes", "2", dsn=database, cwd=works.app.folder)
    eventually(lambda: len(pids(works)) == 2, what="two workers register")
    children = pids(works)

    worker.send(signal.SIGKILL)
    worker.wait()

    eventually(lambda: works.client.list_workers() == [], what="they stop in order")
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


def test_a_burst_of_processes_ends_when_nothing_is_left(works: Works, database: str) -> None:
    works.deploy(MANY)
    runs = [works.client.start("many", {"items": [1, 2, 3]}) for _ in range(5)]
    shell = Shell(works.app.folder, database)

    shell("worker", "--processes", "2", "--burst")

    assert {works.client.get(run.id).status for run in runs} == {"completed"}


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        (("--executor", "python:many.nothing"), '"nothing" does not exist in many', 2),
        (("--executor", "slurm:x"), 'there is no "slurm:x"', 2),
        (("--metrics", "0"), "--metrics needs one process", 2),
        (("--grace", "soon"), "--grace", 2),
        (("--task-memory", "1GB"), "--task-memory needs --executor process", 2),
        (("--executor", "python:many.hold"), "its function raised", 3),
    ],
)
def test_a_worker_that_cannot_start_ends_all(
    works: Works, database: str, words: tuple[str, ...], sentence: str, code: int
) -> None:
    shell = Shell(works.app.folder, database)
    done = shell("worker", "--processes", "2", *words, expect=code)
    assert sentence in done.err
    if code == 2:  # found before any process starts; an engine that is away, each finds itself
        assert done.err.count(sentence) == 1
