"""A worker reports that the process of a handler died: a crash, counted like its own (R-4)."""

from __future__ import annotations

import pytest

from tests.engine.driver import RETRY, Engine, a_step, done, failed, literal

DEATH = {"type": "Crashed", "message": "the process of the handler ended by SIGSEGV"}


@pytest.fixture
def run(engine: Engine) -> str:
    """A run of one step with two attempts."""
    engine.deploy("flow", {"a": a_step(retry=RETRY | {"max_attempts": 2, "base_delay": 2_000})})
    return engine.start("flow")


def _crash(engine: Engine, minute: int) -> None:
    engine.now(f"2100-01-01 12:{minute:02}:00Z")
    (task,) = engine.claim("flow", options={"crashed": "first"})
    assert engine.report(failed(task, "crashed", error=DEATH)) == ["applied"]


def test_a_crash_takes_no_attempt_of_the_budget(engine: Engine, run: str) -> None:
    """Four crashes, then two attempts that fail: the step had two."""
    for minute in range(4):
        _crash(engine, minute)

    for minute in (10, 11):
        engine.now(f"2100-01-01 12:{minute}:00Z")
        (task,) = engine.claim("flow", options={"crashed": "first"})
        engine.report(failed(task))

    (step,) = engine.snapshot(run)["steps"]
    assert (step["status"], step["attempts"], step["crashes"]) == ("failed", 2, 4)
    assert step["error"]["type"] == "Broken"
    assert [error["attempt"] for error in engine.snapshot(run)["errors"]] == [1, 2]


def test_the_fifth_crash_ends_the_task_and_says_why(engine: Engine, run: str) -> None:
    """A poison item kills five processes, and no more."""
    for minute in range(5):
        _crash(engine, minute)

    (step,) = engine.snapshot(run)["steps"]
    assert (step["status"], step["crashes"]) == ("failed", 5)
    assert step["error"]["type"] == "Crashed"
    assert step["error"]["message"] == (
        "it crashed 5 times, the last time in attempt 1: the process of the handler ended by "
        "SIGSEGV"
    )


def test_a_crashed_task_rests_before_its_next_call(engine: Engine, run: str) -> None:
    """The back-off of the step, doubled at each crash; what crashed last stands at the task."""
    _crash(engine, 0)
    _crash(engine, 1)

    engine.now("2100-01-01 12:01:03Z")
    assert engine.claim("flow", options={"crashed": "first"}) == []
    engine.now("2100-01-01 12:01:04Z")
    (task,) = engine.claim("flow", options={"crashed": "first"})

    assert engine.report(done(task)) == ["applied"]
    assert engine.status(run) == "completed"


def test_crashes_and_takeovers_are_counted_together(engine: Engine, run: str) -> None:
    """A worker that dies after four crashes of its processes is the fifth."""
    for minute in range(4):
        _crash(engine, minute)
    engine.now("2100-01-01 12:10:00Z")
    engine.claim("flow", lease="1 s", options={"crashed": "first"})

    engine.now("2100-01-01 12:11:00Z")
    assert Engine(engine.db).claim("flow", options={"crashed": "first"}) == []
    assert engine.status(run) == "failed"


def test_a_crashed_item_leaves_its_siblings_their_budget(engine: Engine) -> None:
    """Of a map of three, one crashes five times; the others complete."""
    engine.deploy("flow", {"a": a_step(map=literal([1, 2, 3]), fail_fast=False)})
    run = engine.start("flow")

    for minute in range(6):
        engine.now(f"2100-01-01 12:{minute:02}:00Z")
        for task in engine.claim("flow", options={"crashed": "first"}):
            bad = task["index"] == 1
            engine.report(failed(task, "crashed", error=DEATH) if bad else done(task, 1))

    (step,) = engine.snapshot(run)["steps"]
    assert (step["status"], step["crashes"]) == ("failed", 5)
    assert step["tasks"]["completed"] == 2
