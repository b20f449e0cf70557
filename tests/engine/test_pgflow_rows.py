"""Rows written by hand: the next call goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.pgflow_door import a_map, deps

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door


def _set(door: Door, table: str, values: str, where: str) -> None:
    assert door.db.execute(f"update pgflow.{table} set {values} where {where}".encode()).rowcount


def test_a_step_made_ready_by_hand_is_started(by_hand: Door) -> None:
    """By start_ready_steps, or by the next task that is completed."""
    by_hand.flow("flow", a={}, b=deps("a"), c=deps("b"))
    run = by_hand.start("flow")
    _set(by_hand, "step_states", "remaining_deps = 0", "step_slug = 'b'")
    by_hand.one("select pgflow.start_ready_steps(%s)", run)
    assert by_hand.statuses(run) == {"a": "started", "b": "started", "c": "created"}
    _set(by_hand, "step_states", "remaining_deps = 0", "step_slug = 'c'")

    by_hand.complete({"run_id": run, "step_slug": "b", "task_index": 0}, 1)
    by_hand.claim("flow")
    by_hand.complete({"run_id": run, "step_slug": "b", "task_index": 0}, 1)

    assert by_hand.statuses(run) == {"a": "started", "b": "completed", "c": "started"}


def test_a_dependency_that_ends_afterwards_counts_no_step_below_nought(by_hand: Door) -> None:
    """The step was made ready by hand before it."""
    by_hand.flow("flow", a={}, b=deps("a"))
    run = by_hand.start("flow")
    _set(by_hand, "step_states", "remaining_deps = 0", "step_slug = 'b'")

    by_hand.complete(by_hand.claim("flow")[0], 1)

    assert by_hand.statuses(run) == {"a": "completed", "b": "started"}


def test_a_map_sized_by_hand_takes_whatever_its_dependency_gives(by_hand: Door) -> None:
    """Its size is known, so no array is needed; elements there are none."""
    by_hand.flow("flow", a={}, each=a_map("a"))
    run = by_hand.start("flow")
    _set(by_hand, "step_states", "initial_tasks = 2", "step_slug = 'each'")

    row = by_hand.complete(by_hand.claim("flow")[0], {"no": "array"})

    assert (row["status"], by_hand.status(run)) == ("completed", "started")
    assert [task["input"] for task in by_hand.claim("flow")] == [None, None]


def test_a_run_counted_down_by_hand_is_completed(by_hand: Door) -> None:
    """The output is what its leaves have by then; a second call leaves the stamp alone."""
    by_hand.flow("flow", a={}, b={}, c=deps("a"))
    run = by_hand.start("flow")
    by_hand.one("select pgflow.maybe_complete_run(%s)", run)
    assert by_hand.status(run) == "started"
    done = "status = 'completed', completed_at = now(), remaining_tasks = 0, output = '7'"
    _set(by_hand, "step_states", done, "step_slug <> 'c'")
    _set(by_hand, "runs", "remaining_steps = 0", "true")

    by_hand.one("select pgflow.maybe_complete_run(%s)", run)

    first = by_hand.run(run)
    assert (first["status"], first["output"]) == ("completed", {"b": 7})
    by_hand.one("select pgflow.maybe_complete_run(%s)", run)
    assert by_hand.run(run) == first


def test_a_task_put_back_by_hand_is_claimed_again(by_hand: Door) -> None:
    """With its attempts at nought; and one set to completed by hand is left alone."""
    by_hand.flow("flow", each=a_map())
    run = by_hand.start("flow", [1, 2])
    one, two = by_hand.claim("flow")
    fresh = "status = 'queued', attempts_count = 0, started_at = null, last_worker_id = null"
    _set(by_hand, "step_tasks", fresh, "task_index = 0")
    _set(by_hand, "step_tasks", "status = 'completed', completed_at = now()", "task_index = 1")
    by_hand.db.execute("update pgmq.q_flow set vt = now()")

    (again,) = by_hand.claim("flow")
    row = by_hand.complete(two, 9)

    assert (again["task_index"], row["output"]) == (0, None)
    assert by_hand.tasks(run, "each")[0]["attempts_count"] == 1
    assert by_hand.step(run, "each")["remaining_tasks"] == 2
    assert by_hand.complete(one, 8)["status"] == "completed"


def test_a_step_started_by_hand_with_a_task_of_ones_own_goes_on(by_hand: Door) -> None:
    """Without remaining_tasks, message, worker or lease it is reported all the same."""
    by_hand.flow("flow", a={}, b=deps("a"), c=deps("b"))
    run = by_hand.start("flow")
    _set(by_hand, "step_states", "status = 'started', started_at = now()", "step_slug = 'b'")
    by_hand.db.execute(
        """insert into pgflow.step_tasks (flow_slug, run_id, step_slug, status, started_at)
        values ('flow', %s, 'b', 'started', now())""",
        [run],
    )
    task = {"run_id": run, "step_slug": "b", "task_index": 0}

    assert by_hand.fail(task, "no")["status"] == "queued"
    _set(by_hand, "step_tasks", "status = 'started', started_at = now()", "step_slug = 'b'")
    assert by_hand.complete(task, 5)["status"] == "completed"
    assert by_hand.step(run, "b")["status"] == "started"
    again = "status = 'started', completed_at = null, output = null"
    _set(by_hand, "step_tasks", again, "step_slug = 'b'")
    _set(by_hand, "step_states", "remaining_tasks = 1", "step_slug = 'b'")
    by_hand.complete(task, 5)

    assert by_hand.statuses(run) == {"a": "started", "b": "completed", "c": "started"}


def test_a_run_completed_by_hand_lets_its_tasks_end(by_hand: Door) -> None:
    """A completion counts, starts nothing more and leaves the run; a failure ends the task only."""
    by_hand.flow("flow", a={}, b=deps("a"), c={})
    run = by_hand.start("flow")
    tasks = {task["step_slug"]: task for task in by_hand.claim("flow")}
    _set(by_hand, "runs", "status = 'completed', completed_at = now(), remaining_steps = 0", "true")

    assert by_hand.complete(tasks["a"], 1)["status"] == "completed"
    assert by_hand.fail(tasks["c"], "late")["status"] == "failed"

    assert by_hand.statuses(run) == {"a": "completed", "b": "created", "c": "started"}
    assert (by_hand.status(run), by_hand.counts("flow")) == ("completed", (0, 2))


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("runs", "status = 'failed', failed_at = now()"),
        ("runs", "status = 'completed', completed_at = now()"),
        ("step_states", "status = 'failed', failed_at = now()"),
        ("step_tasks", "status = 'failed', failed_at = now()"),
    ],
)
def test_what_was_ended_by_hand_is_not_claimed(by_hand: Door, table: str, values: str) -> None:
    """Be it the run, the step or the task; no error, and the attempts stay."""
    by_hand.flow("flow", a={})
    run = by_hand.start("flow")
    _set(by_hand, table, values, "true")

    assert by_hand.claim("flow") == []
    assert by_hand.tasks(run, "a")[0]["attempts_count"] == 0


def test_a_run_failed_by_hand_keeps_what_is_reported_as_completed_out(by_hand: Door) -> None:
    """complete_task changes not even the message; fail_task ends a started task and its message."""
    by_hand.flow("flow", a={}, b={})
    run = by_hand.start("flow")
    tasks = {task["step_slug"]: task for task in by_hand.claim("flow")}
    _set(by_hand, "runs", "status = 'failed', failed_at = now()", "true")

    assert by_hand.complete(tasks["a"], 1)["status"] == "started"
    assert by_hand.counts("flow") == (2, 0)
    row = by_hand.fail(tasks["b"], "late")

    assert (row["status"], row["error_message"]) == ("failed", "late")
    assert by_hand.counts("flow") == (1, 1)
    assert by_hand.statuses(run) == {"a": "started", "b": "started"}


def test_a_step_skipped_by_hand_archives_what_is_reported(by_hand: Door) -> None:
    """The row comes back as it is; nothing is counted."""
    by_hand.flow("flow", a={}, b=deps("a"))
    run = by_hand.start("flow")
    (task,) = by_hand.claim("flow")
    skipped = "status = 'skipped', skip_reason = 'condition_unmet', skipped_at = now()"
    _set(by_hand, "step_states", f"{skipped}, remaining_tasks = null", "step_slug = 'a'")

    row = by_hand.complete(task, 1)

    assert (row["status"], row["output"]) == ("started", None)
    assert (by_hand.counts("flow"), by_hand.run(run)["remaining_steps"]) == ((0, 1), 2)
    assert by_hand.step(run, "b")["remaining_deps"] == 1


def test_rows_with_pgflows_columns_only_make_a_flow_that_runs(door: Door) -> None:
    """Inserted by hand, queue names are filled in."""
    door.db.execute("insert into pgflow.flows (flow_slug) values ('flow')")
    door.db.execute(
        """insert into pgflow.steps (flow_slug, step_slug, step_index)
        values ('flow', 'a', 0), ('flow', 'b', 1)"""
    )
    door.one("select pgflow.create_flow('flow')")
    run = door.start("flow")

    assert sorted(door.work("flow", 1)) == ["a", "b"]
    assert door.run(run)["output"] == {"a": 1, "b": 1}


def test_stamps_may_be_moved_by_weeks_in_either_direction(door: Door) -> None:
    """No later stamp is then before an earlier one."""
    door.flow(
        "flow",
        a={"max_attempts": 2},
        b=deps("a"),
        c=deps("a", when_exhausted="skip", max_attempts=1),
    )
    run = door.start("flow")
    _set(door, "step_tasks", "queued_at = now() + interval '3 weeks'", "true")
    _set(door, "step_states", "created_at = created_at + interval '3 weeks', started_at = started_at + interval '3 weeks'", "true")  # fmt: skip  # noqa: E501
    _set(door, "runs", "started_at = now() + interval '4 weeks'", "true")

    (task,) = door.claim("flow")
    door.complete(task, 1)
    tasks = {task["step_slug"]: task for task in door.claim("flow")}
    door.fail(tasks["c"])
    door.complete(tasks["b"], 1)

    assert door.status(run) == "completed"


def test_a_wider_map_set_by_hand_gets_its_tasks(by_hand: Door) -> None:
    """Elements that the array does not have are null."""
    by_hand.flow("flow", a={}, each=a_map("a"))
    run = by_hand.start("flow")
    (task,) = by_hand.claim("flow")
    by_hand.complete(task, [5, 6])
    _set(by_hand, "step_tasks", "item = null", "step_slug = 'each'")
    assert [task["input"] for task in by_hand.claim("flow")] == [5, 6]
    second = by_hand.start("flow")
    done = "status = 'completed', completed_at = now(), remaining_tasks = 0, output = '[5]'"
    _set(by_hand, "step_states", done, f"step_slug = 'a' and run_id = '{second}'")
    ready = f"step_slug = 'each' and run_id = '{second}'"
    _set(by_hand, "step_states", "remaining_deps = 0, initial_tasks = 3", ready)

    by_hand.one("select pgflow.start_ready_steps(%s)", second)

    assert by_hand.statuses(run)["each"] == "started"
    claimed = [task for task in by_hand.claim("flow") if task["step_slug"] == "each"]
    assert [task["input"] for task in claimed] == [5, None, None]
