"""Many failed runs, retried by the command line beside several workers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell
from tests.fixtures.effort import EFFORT
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works

RUNS = min(1000, 100 * EFFORT)
FLOW = """
flow: many
input: {n: {type: integer}}
steps:
  first: {handler: tasks.first}
  second: {handler: tasks.second, depends_on: [first], retry: 1}
"""
HANDLERS = """
broken = True

def first(): return 1
def second():
    if broken: raise ValueError("broke")
    return 2
"""


@pytest.mark.slow
def test_all_failed_runs_complete(works: Works) -> None:
    """`failed retry --yes` under four workers: each run completes, and nothing runs twice."""
    works.app.write("tasks.py", HANDLERS)
    works.deploy(FLOW)
    works.client.start_many("many", [{"n": n} for n in range(RUNS)])
    works.drain(concurrency=16)
    rows = works.client.failed(limit=1000)
    assert {row.step for row in rows} == {"second"}
    assert len(rows) == RUNS
    vars(sys.modules["tasks"])["broken"] = False
    for _ in range(4):
        works.start()

    said = Shell(works.app.folder, works.database)("failed", "retry", "--yes").out

    assert said.endswith(f"retried {RUNS:,} runs\n")
    eventually(lambda: works.client.list_flows()[0].runs["completed"] == RUNS, seconds=60 * EFFORT)
    attempts = [
        step.attempts for run in works.client.list_runs(limit=5)
        for step in works.client.get(run.id).steps
    ]  # fmt: skip
    assert attempts == [1] * len(attempts)
    assert works.client.failed() == []


LEFT = """
select count(*) filter (where status = 'failed'), count(*) filter (where retries = 1), count(*)
from pgflow.runs"""
HALF = """
select count(*) from pgflow.runs r
where (r.status = 'failed') <> (r.retries = 0) or (r.status = 'started') <> exists (
  select from pgflow.step_tasks t join pgmq.q_many q on q.msg_id = t.message_id
  where t.run_id = r.run_id and t.step_slug = 'second' and t.status = 'queued')"""
BUSY = """
select count(*) from pg_stat_activity
where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid()"""


def numbers(db: psycopg.Connection, query: str) -> list[int]:
    """The only row of a query."""
    return list(db.execute(query.encode()).fetchall()[0])


def test_a_killed_retry_of_many_is_done_again(works: Works, db: psycopg.Connection) -> None:
    """After kill -9 each run was retried or was not, and a second call retries the others once."""
    works.app.write("tasks.py", HANDLERS)
    works.deploy(FLOW)
    works.client.start_many("many", [{"n": n} for n in range(60)])
    works.drain(concurrency=16)
    shell = Shell(works.app.folder, works.database)

    killed = shell.start("failed", "retry", "--yes")
    eventually(lambda: numbers(db, LEFT)[1] >= 5)
    killed.kill()
    killed.communicate()
    eventually(lambda: numbers(db, BUSY) == [0])  # its last statement may still commit
    failed, retried, _ = numbers(db, LEFT)
    (half,) = numbers(db, HALF)
    said = shell("failed", "retry", "--yes").out
    vars(sys.modules["tasks"])["broken"] = False
    works.drain(concurrency=16)

    assert 5 <= retried < 60
    assert (failed, half) == (60 - retried, 0)
    assert said.endswith(f"retried {failed} runs\n")
    assert numbers(db, LEFT) == [0, 60, 60]
    assert works.client.list_flows()[0].runs["completed"] == 60
