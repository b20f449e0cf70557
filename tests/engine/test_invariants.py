"""The invariants themselves: what could never happen is seen when somebody does it by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.driver import Engine, a_child, a_step, a_wait

if TYPE_CHECKING:
    import psycopg

ALL_CANCELLED = "update pgflow.step_tasks set status = 'cancelled'"
NO_CHILD = """update pgflow.step_tasks set child_run_id = gen_random_uuid()
where child_run_id is not null"""
PARENT_ENDED = "update pgflow.runs set status = 'cancelled' where depth = 0"
ALL_ENDED = "update pgflow.step_states set status = 'cancelled'"


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (
            ALL_CANCELLED,
            {("I3", "started, but nothing of it is live, waits or is still to be made")},
        ),
        (ALL_ENDED, {("I3", "goes on, but no step of it is started")}),
        (
            "update pgflow.runs set status = 'cancelled' where depth = 1",
            {("I2", "child run has ended, but its step is not notified")},
        ),
        (
            NO_CHILD,
            {("I2", "child run has ended, but its step is not notified")},
        ),
        (PARENT_ENDED, {("I1", "goes on, but its parent has ended")}),
    ],
    ids=["no task", "no step", "child ended", "child gone", "parent ended"],
)
def test_what_is_stuck_is_seen(
    db: psycopg.Connection, harm: str, found: set[tuple[str, str]]
) -> None:
    """Promise 3: each run that goes on has something that will wake it; well, then harmed."""
    engine = Engine(db)
    engine.deploy("child", {"work": a_step(), "nap": a_wait(wait={"event": "go"})})
    engine.deploy("parent", {"sub": a_child("child"), "wide": a_step(initial_tasks=6000)})
    engine.start("parent")
    engine.claim("nobody")
    before = engine.violations()

    db.execute(harm.encode())

    assert before == []
    assert found <= {(row[0], row[3]) for row in engine.violations()}
