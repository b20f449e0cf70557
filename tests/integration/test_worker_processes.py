"""A worker whose handlers run in processes: what they do to these harms no other task."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pgflow_yaml import Run
    from tests.fixtures.worker_process import StartCli
    from tests.fixtures.working import Works

HANDLERS = """
import asyncio, ctypes, os, sys, time
from pathlib import Path

def split(input): return list(range(30))

def work(item):
    if item % 10 == 7: ctypes.string_at(0)
    return item

def spin(input):
    sum(range(10**13))

def wait(input, ctx):
    Path(input["file"]).write_text(str(os.getpid()))
    while not ctx.cancelled: time.sleep(0.01)
    Path(input["file"]).unlink()

def hold(input):
    Path(input["file"]).write_text(str(os.getpid()))
    while True: pass

def say(key):
    print("the key is", key)
    print("DATABASE_URL" in os.environ, any(name.startswith("PG") for name in os.environ))
    return sys.modules["__main__"].__spec__.name

async def both(outputs, ctx):
    await asyncio.sleep(0.01)
    return [outputs["say"], ctx.run_input]

def once(input, *, tx): return 1
"""
MAP = """
flow: deadly
steps:
  split: {handler: risky.split}
  work:
    handler: risky.work
    depends_on: [split]
    map: steps.split.output
    fail_fast: false
    retry: {max_attempts: 2, base_delay: 10ms}
"""
SPIN = """
flow: spin
steps:
  spin: {handler: risky.spin, timeout: 300ms, retry: {max_attempts: 1}}
"""
WAIT = """
flow: wait
input: {file: {type: string}}
steps:
  wait: {handler: risky.NAME}
"""
SAY = """
flow: say
steps:
  say: {handler: risky.say, with: {key: "${{ secrets.KEY }}"}}
  both: {handler: risky.both, depends_on: [say]}
"""
TX = """
flow: tx
steps:
  once: {handler: risky.once}
"""


@pytest.fixture(autouse=True)
def handlers(works: Works) -> None:
    """The module of the handlers."""
    works.app.write("risky.py", HANDLERS)


def items(database: str, run: Run) -> list[tuple[int, str, int, int, str]]:
    """Return the tasks of a map: index, status, attempts of the budget, crashes, error."""
    query = """
        select task_index, status, attempts_count - uncounted, crashes_count,
          coalesce(error_message, '')
        from pgflow.step_tasks where run_id = %s and step_slug = 'work' order by 1
    """
    with psycopg.connect(database) as db:
        return db.execute(query, [run.id]).fetchall()


def test_segfaults_of_some_items_leave_the_others_alone(works: Works, database: str) -> None:
    """Three of thirty: each ends after five crashes, the others complete at once."""
    works.deploy(MAP)
    started = works.client.start("deadly")

    works.start(executor="process", concurrency=3)
    run = works.ended(started.id)

    assert run.status == "failed"
    for index, status, attempts, crashes, error in items(database, run):
        if index % 10 == 7:
            assert (status, crashes) == ("failed", 5)
            assert "it crashed 5 times" in error
            assert "the process of the handler ended by SIGSEGV" in error
        else:
            assert (status, attempts, crashes) == ("completed", 1, 0)


def test_a_loop_in_c_times_out_and_the_worker_goes_on(works: Works) -> None:
    """With threads, each such handler keeps its thread, and as many as slots end the worker."""
    works.deploy(SPIN)
    runs = [works.client.start("spin") for _ in range(4)]

    works.start(executor="process", concurrency=1)

    for run in runs:
        ended = works.ended(run.id)
        (step,) = ended.steps
        assert ended.status == "failed"
        assert step.error
        assert step.error["type"] == "Timeout"
    assert works.is_running()


@pytest.mark.parametrize("name", ["wait", "hold"])
def test_a_cancelled_run_stops_its_handler(works: Works, tmp_path: Path, name: str) -> None:
    """One that looks at `ctx.cancelled` tidies up; another one is ended."""
    works.deploy(WAIT.replace("NAME", name))
    file = tmp_path / "pid"
    run = works.client.start("wait", {"file": str(file)})
    works.start(executor="process", lease_seconds=3)
    eventually(lambda: file.exists() and file.read_text(), what="the handler begins")
    pid = int(file.read_text())

    works.client.cancel(run.id)

    assert works.ended(run.id).status == "cancelled"
    if name == "wait":
        eventually(lambda: not file.exists(), what="the handler tidies up")
    else:
        eventually(lambda: not Path(f"/proc/{pid}").exists(), what="its process ends")


def test_a_worker_of_the_command_line(
    works: Works, database: str, start_cli: StartCli, tmp_path: Path
) -> None:
    """Secrets are masked in the log, the database is out of reach, a second signal ends all."""
    works.deploy(SAY)
    works.deploy(TX)
    works.deploy(WAIT.replace("NAME", "hold"))
    file = tmp_path / "pid"
    said = works.client.start("say")
    tx = works.client.start("tx")
    held = works.client.start("wait", {"file": str(file)})

    worker = start_cli(
        *("worker", "--executor", "process", "-c", "2", "--tasks-per-child", "1"),
        *("--task-memory", "4GB", "--log-format", "text"),
        dsn=database,
        cwd=works.app.folder,
        PGFLOW_YAML_SECRET_KEY="hunter2hunter2",
    )

    run = works.ended(said.id)
    assert run.output == {"both": ["pgflow_yaml.worker.executors.child", {}]}
    (failed,) = works.ended(tx.id).steps
    assert failed.error
    assert "outside of the worker's process" in str(failed.error["message"])
    lines = [line.text for line in works.client.run_logs(said.id)]
    assert lines == ["the key is ***", "False False"]
    eventually(file.exists, what="the handler begins")
    pid = eventually(file.read_text)
    worker.send(signal.SIGTERM)
    worker.wait_for("stopping")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 1
    assert f"{said.id[:8]} say | the key is ***" in worker.stdout
    assert "hunter2" not in worker.stdout + worker.stderr
    eventually(lambda: not _runs(int(pid)), what="its process ends")
    assert works.client.get(held.id).status == "started"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
