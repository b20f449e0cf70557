"""The parts of advancing called one by one, and what callers delete, drop and archive."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.engine.driver import Engine, a_step
from tests.engine.pgflow_door import a_map, deps

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door, Row

EMPTYING = ["step_tasks", "step_states", "runs", "deps", "steps", "flows", "worker_functions"]
STEPS = [
    "pgflow.cascade_resolve_conditions",
    "pgflow.cascade_complete_taskless_steps",
    "pgflow.start_ready_steps",
    "pgflow.maybe_complete_run",
]


def test_calling_the_steps_of_advancing_again_changes_nothing(door: Door) -> None:
    """On a run that goes on, has failed or is done, on one nobody knows, on one of ours."""
    door.flow("flow", a={"max_attempts": 1}, b=deps("a"))
    going, done = door.start("flow"), door.start("flow")
    for task in door.claim("flow"):
        if str(task["run_id"]) == done:
            door.complete(task, 1)
    door.work("flow", 1)
    failed = door.start("flow")
    door.fail(door.claim("flow")[0])
    engine = Engine(door.db)
    engine.deploy("ours", {"a": a_step()})
    ours = engine.start("ours")
    before = _everything(door)

    for run in (going, done, failed, ours, str(uuid4())):
        replies = [door.one(f"select {function}(%s)", run) for function in STEPS]
        assert replies[:2] == [run != failed, 0]
    skip = "select pgflow._cascade_force_skip_steps(%s, 'a', 'condition_unmet')"
    assert [door.one(skip, run) for run in (done, failed, ours)] == [0, 0, 0]

    assert _everything(door) == before
    assert len(engine.work("ours")) == 1
    assert door.status(going) == "started"


def _everything(door: Door) -> list[Row]:
    tables = ("pgflow.runs", "pgflow.step_states", "pgflow.step_tasks")
    queues = ("pgmq.q_flow", "pgmq.a_flow", "pgmq.q_ours")
    return [
        row
        for table in (*tables, *queues)
        for row in door.rows(f"select * from {table} order by 1, 2, 3")
    ]


def test_every_queue_may_be_dropped_at_any_time(by_hand: Door) -> None:
    """Ours as well; then flows are made again and run as before."""
    engine = Engine(by_hand.db)
    items = {"ast": ["lit", list(range(6_000))], "paths": []}
    engine.deploy("ours", {"a": a_step(map=items)})
    engine.start("ours")
    by_hand.flow("flow", a={}, b=deps("a"))
    by_hand.start("flow")
    (task,) = by_hand.claim("flow")
    queues = by_hand.column("select queue_name from pgmq.list_queues() order by 1")
    assert queues == ["flow", "ours", "pgflow__timers"]
    by_hand.column("select pgmq.drop_queue(queue_name) from pgmq.list_queues()")

    by_hand.flow("flow")
    run = by_hand.start("flow")

    assert by_hand.complete(task, 1)["status"] == "completed"
    assert by_hand.fail(task)["status"] == "completed"
    assert by_hand.one("select pgflow.requeue_stalled_tasks()") == 0
    assert set(by_hand.work("flow", 1)) == {"a", "b"}
    assert by_hand.status(run) == "completed"


def test_all_rows_may_be_deleted_by_hand_children_first(door: Door) -> None:
    """What we hang on these tables goes with them."""
    engine = Engine(door.db)
    engine.deploy("ours", {"a": a_step()})
    engine.start("ours", key="k")
    door.flow("flow", a={})
    door.start("flow")
    door.fail(door.claim("flow")[0])
    door.one("select pgflow.track_worker_function('f')")

    for table in EMPTYING:
        door.db.execute(f"delete from pgflow.{table}".encode())
    door.db.execute("delete from pgflow.workers where last_heartbeat_at <= now()")

    for table in ("task_errors", "definitions", "workers"):
        assert door.one(f"select count(*) from pgflow.{table}") == 0


def test_old_runs_may_be_deleted_and_workers_too(door: Door) -> None:
    """A task keeps going without its worker."""
    door.flow("flow", a={})
    door.start("flow")
    door.work("flow")
    run = door.start("flow")
    (task,) = door.claim("flow")
    for table in ("step_tasks", "step_states", "runs"):
        door.db.execute(f"delete from pgflow.{table} where run_id <> %s".encode(), [run])
    door.db.execute("delete from pgflow.workers")

    assert door.tasks(run, "a")[0]["last_worker_id"] is None
    door.complete(task, 1)
    assert door.status(run) == "completed"


def test_a_retry_is_brought_forward_by_its_messages_visibility(door: Door) -> None:
    """Set to the present the next read and claim succeed."""
    door.flow("flow", a={})
    door.start("flow")
    door.fail(door.claim("flow")[0])
    assert door.claim("flow") == []

    door.db.execute("update pgmq.q_flow set vt = now()")

    assert len(door.claim("flow")) == 1


def test_steps_without_tasks_are_completed_one_call_at_a_time(by_hand: Door) -> None:
    """A single step set to no tasks gives null; the call returns how many it completed."""
    by_hand.flow("flow", a={}, b=deps("a"), c=a_map("b"))
    run = by_hand.start("flow")
    by_hand.db.execute(
        "update pgflow.step_states set remaining_deps = 0, initial_tasks = 0 where step_slug = 'b'"
    )

    assert by_hand.one("select pgflow.cascade_complete_taskless_steps(%s)", run) == 1

    step = by_hand.step(run, "b")
    assert (step["status"], step["output"], step["remaining_tasks"]) == ("completed", None, 0)
    assert by_hand.step(run, "c")["remaining_deps"] == 0
    assert by_hand.run(run)["remaining_steps"] == 2


def test_a_forced_skip_takes_what_is_created_or_started_downstream(by_hand: Door) -> None:
    """Messages archived, tasks skipped, the run counted down but not ended; a second call: none."""
    by_hand.flow("flow", a={}, b=deps("a"), c=deps("b"), d={})
    run = by_hand.start("flow")
    skip = "select pgflow._cascade_force_skip_steps(%s, 'a', 'condition_unmet')"

    assert [by_hand.one(skip, run), by_hand.one(skip, run)] == [3, 0]

    assert [by_hand.step(run, slug)["skip_reason"] for slug in "abcd"] == [
        "condition_unmet",
        "dependency_skipped",
        "dependency_skipped",
        None,
    ]
    assert by_hand.step(run, "a")["remaining_tasks"] is None
    assert (by_hand.counts("flow"), by_hand.run(run)["remaining_steps"]) == ((1, 1), 1)
    assert [task["status"] for task in by_hand.tasks(run, "a")] == ["skipped"]
    assert by_hand.work("flow", 1) == ["d"]
    assert by_hand.status(run) == "completed"


@pytest.mark.parametrize("times", [1, 2])
def test_a_tasks_message_is_archived_alone(by_hand: Door, times: int) -> None:
    """Again, or for a task nobody knows, it is no error."""
    by_hand.flow("flow", each=a_map())
    run = by_hand.start("flow", [1, 2])

    for _ in range(times):
        by_hand.one("select pgflow._archive_task_message(%s, 'each', 1)", run)
        by_hand.one("select pgflow._archive_task_message(%s, 'each', 7)", run)

    assert by_hand.column("select message ->> 'task_index' from pgmq.a_flow") == ["1"]
    assert by_hand.counts("flow") == (1, 1)
