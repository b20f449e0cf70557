"""The run before has not ended at a tick: wait for it, replace it, or go beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engine.driver import a_step
from tests.engine.timetables import MINUTE, at, begin, fire, plan, row

if TYPE_CHECKING:
    from tests.engine.driver import Engine

QUEUE = {**MINUTE, "overlap": "queue"}
REPLACE = {**MINUTE, "overlap": "replace"}


def tick(engine: Engine, minute: int) -> str:
    """Let a tick fire, and timers run; the id of its run."""
    engine.now(at(minute))
    reply = fire(engine, at(minute), [at(minute)], at(minute + 1))
    while "timers" in engine.call("wind", engine.worker):
        pass
    return str(reply["runs"][0])


def test_the_next_run_waits(engine: Engine) -> None:
    """`queue`: one run at a time, in the order of their ticks; steps begin when it is let in."""
    begin(engine, QUEUE)
    first, second, third = (tick(engine, minute) for minute in (1, 2, 3))
    assert [engine.statuses(run) for run in (first, second)] == [{"work": "started"}, {}]

    assert engine.work("report") == ["work"] * 3

    ended = [engine.one("select completed_at from pgflow.runs where run_id = %s", run)
             for run in (first, second, third)]  # fmt: skip
    assert ended == sorted(ended)
    assert engine.one("select count(*) from pgflow.slots") == 0


def test_a_hundred_wait_at_most(engine: Engine) -> None:
    """Further ticks are skipped, and counted."""
    begin(engine, QUEUE)
    tick(engine, 1)
    for minute in range(2, 103):
        fire(engine, at(minute), [at(minute)], at(minute + 1))
    assert row(engine, "array[fired, skipped]") == [101, 1]


def test_the_next_run_replaces_the_former(engine: Engine) -> None:
    """`replace`: it is cancelled with a reason, and so is one that still waits."""
    begin(engine, REPLACE)
    first, second = tick(engine, 1), tick(engine, 2)
    assert engine.status(first) == "cancelled"
    assert second in engine.snapshot(first)["run"]["error"]["message"]
    assert engine.work("report") == ["work"]
    assert engine.status(second) == "completed"


def test_a_replaced_run_cleans_up_before_the_next_begins(engine: Engine) -> None:
    """Its `finally` steps run first; the next one waits for the place."""
    begin(engine, REPLACE, finally_={"clean": a_step()})
    first, second = tick(engine, 1), tick(engine, 2)
    assert (engine.status(first), engine.statuses(second)) == ("started", {})
    assert engine.work("report") == ["clean", "work", "clean"]
    assert (engine.status(first), engine.status(second)) == ("cancelled", "completed")


def test_runs_that_wait_begin_when_overlap_is_allowed(engine: Engine) -> None:
    """A version with another `overlap` opens the gate."""
    begin(engine, QUEUE)
    _, second = tick(engine, 1), tick(engine, 2)
    plan(engine, {**MINUTE, "overlap": "allow"})
    while "timers" in engine.call("wind", engine.worker):
        pass
    assert engine.statuses(second) == {"work": "started"}
    engine.work("report")


def test_the_gate_of_the_flow_comes_after(engine: Engine) -> None:
    """A run that is let in by its schedule waits for a slot of its flow as well."""
    begin(engine, QUEUE, concurrency={"limit": 1})
    by_hand = engine.start("report")
    run = tick(engine, 1)
    assert engine.statuses(run) == {}
    assert engine.work("report") == ["work", "work"]
    assert [engine.status(each) for each in (by_hand, run)] == ["completed", "completed"]
    assert engine.one("select count(*) from pgflow.slots") == 0


def test_the_sweep_writes_a_lost_slot(engine: Engine) -> None:
    """A run that waits for the one before it does not wait for ever."""
    begin(engine, QUEUE)
    first, second = tick(engine, 1), tick(engine, 2)
    engine.db.execute("delete from pgflow.slots where not held")
    assert engine.call("sweep") == 1
    assert engine.work("report") == ["work", "work"]
    assert {engine.status(run) for run in (first, second)} == {"completed"}
