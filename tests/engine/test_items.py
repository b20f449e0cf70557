"""The tasks of a step: in letters, in lists, one by one."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.engine.costs import Meter
from tests.engine.driver import a_step, done, failed, literal

if TYPE_CHECKING:
    from tests.engine.driver import Engine


@pytest.fixture
def run(engine: Engine) -> str:
    """A map of six items: completed, failed for good, back for a retry, running, and two held."""
    engine.now("2036-01-01 12:00:00Z")
    each = a_step(map=literal(list("abcdef")), max_parallel=4, tolerate=2)
    engine.deploy("flow", {"each": each})
    run = engine.start("flow")
    first, second, third, _ = engine.claim("flow")
    engine.now("2036-01-01 12:00:05Z")
    engine.report(done(first), failed(second, "fatal"), failed(third))
    return run


def test_a_step_has_two_letters_for_each_task(engine: Engine, run: str) -> None:
    """The status and the attempts, of a part as of all."""
    items = engine.call("step_items", run, "each")

    assert items == {"status": "started", "first": 0, "total": 6, "items": "c1f1q1r1q0q0"}
    assert engine.call("step_items", run, "each", 1, 2)["items"] == "f1q1"
    assert engine.call("step_items", run, "each", 6)["items"] == ""
    assert engine.call("step_items", run, "nothing") is None


def test_a_task_that_is_not_made_yet_has_its_place(engine: Engine) -> None:
    """A large map makes its tasks in parts, and a retry deletes those that run again."""
    engine.deploy("wide", {"each": a_step(map=literal(list(range(12_000))))})
    wide = engine.start("wide")

    items = engine.call("step_items", wide, "each", 9_990, 10_000)

    assert items["total"] == 12_000
    assert len(items["items"]) == 2 * 2010
    assert items["items"].endswith("-0")
    engine.call("cancel_run", wide)


def test_items_are_listed_by_status_with_their_error(engine: Engine, run: str) -> None:
    """Failed ones first, as a table asks for them."""
    (item,) = engine.call("list_items", run, "each", ["failed"])
    queued = engine.call("list_items", run, "each", ["queued"])

    assert (item["index"], item["attempts"]) == (1, 1)
    assert item["error"] == {"type": "Broken", "message": "attempt 1 broke"}
    assert item["ended_at"] == "2036-01-01T12:00:05+00:00"
    assert [(each["index"], each["error"] is None) for each in queued] == [
        (2, False),
        (4, True),
        (5, True),
    ]
    assert [each["index"] for each in engine.call("list_items", run, "each", None, 4)] == [4, 5]
    assert len(engine.call("list_items", run, "each", None, 0, 2)) == 2


ERRORS = """
insert into pgflow.task_errors (run_id, step_slug, task_index, attempt, type, message, final)
select '{run}', 'each', 1000 + g, 1, 'Broken', 'it broke', true from generate_series(1, 20000) g"""


def test_a_page_of_items_reads_their_own_errors(engine: Engine, run: str) -> None:
    """However many other tasks of the step have failed, with and without statistics."""
    meter = Meter(engine)
    meter.call("alone", "list_items", run, "each")
    engine.db.execute(ERRORS.format(run=run).encode())

    for statement in (b"select", b"analyze"):
        engine.db.execute(statement)
        assert len(meter.call("crowded", "list_items", run, "each")) == 6
        assert meter.costs["crowded"].rows <= meter.costs["alone"].rows, meter.costs
        assert meter.costs["crowded"].scans == 0


def test_a_failed_attempt_says_when_it_began(engine: Engine, run: str) -> None:
    """So that a time line has both of its ends, in the run and in the task."""
    times = [(error["began_at"], error["at"]) for error in engine.snapshot(run)["errors"]]
    task = engine.call("task_snapshot", run, "each", 2)

    assert times == [("2036-01-01T12:00:00+00:00", "2036-01-01T12:00:05+00:00")] * 2
    assert task["errors"][0]["began_at"] == "2036-01-01T12:00:00+00:00"


def test_a_task_says_what_it_is_and_when_it_is_due(engine: Engine, run: str) -> None:
    """Its item, when it may be claimed, who had it last."""
    waits, runs = (engine.call("task_snapshot", run, "each", index) for index in (2, 3))

    assert (waits["item"], waits["queued_at"]) == ("c", "2036-01-01T12:00:00+00:00")
    assert datetime.fromisoformat(waits["due_at"]) == datetime.fromisoformat(
        "2036-01-01T12:00:06+00:00"
    )
    assert (runs["due_at"], runs["worker"]) == (None, engine.worker[:8])


def test_a_look_leaves_the_input_out(engine: Engine, run: str) -> None:
    """And nothing else."""
    whole = engine.call("run_snapshot", run)
    light = engine.call("run_snapshot", run, False, 0, True, False, False)

    assert (whole["run"].pop("input"), light["run"].pop("input")) == ({}, None)
    assert light["run"] == whole["run"]
