"""How many tasks of a wide step ran at once."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tests.engine.driver import a_step, done, failed, literal

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def at(second: int) -> str:
    """A time after the runs of these tests began."""
    return f"2036-01-01 12:00:{second:02}Z"


def test_the_numbers_follow_the_tasks(engine: Engine) -> None:
    """Four from the start, two of them for half of the time; a fifth in the second half."""
    engine.now(at(0))
    engine.deploy("flow", {"each": a_step(map=literal(list("abcde"))), "one": a_step()})
    run = engine.start("flow")
    first = engine.claim("flow", quantity=5)
    each = [task for task in first if task["step"] == "each"]
    engine.now(at(10))
    engine.report(*map(done, each[:2]))
    rest = engine.claim("flow", quantity=5)
    engine.now(at(20))
    engine.report(*map(done, [*each[2:], *(task for task in rest if task["step"] == "each")]))

    found = engine.call("run_densities", run, 4)

    assert set(found) == {"each"}  # "one" has one task
    begun, later = len(each), 5 - len(each)
    assert found["each"]["running"] == [begun, begun, begun - 2 + later, begun - 2 + later]
    ends = [datetime.fromisoformat(found["each"][name]) for name in ("begin", "end")]
    assert (ends[1] - ends[0]).total_seconds() == 20


def test_a_task_that_waits_for_its_next_attempt_does_not_run(engine: Engine) -> None:
    """It has begun, and is back in the queue; what runs still does so now."""
    engine.now(at(0))
    engine.deploy("flow", {"each": a_step(map=literal(list("ab")))})
    run = engine.start("flow")
    first, _ = engine.claim("flow", quantity=2)
    engine.now(at(4))
    engine.report(failed(first))

    assert engine.call("run_densities", run, 2)["each"]["running"] == [1, 1]


def test_nothing_wide_has_no_numbers(engine: Engine) -> None:
    """Nor has a run that is not there, or a step that has not begun."""
    engine.deploy("flow", {"one": a_step(), "each": a_step("one", map=literal([1, 2]))})
    run = engine.start("flow")

    assert engine.call("run_densities", run) == {}
    assert engine.call("run_densities", "00000000-0000-4000-8000-000000000000") == {}


def test_ten_thousand_tasks_are_counted_at_once(engine: Engine) -> None:
    """What a page reads at each look: the area below the numbers is the work that was done."""
    engine.deploy("wide", {"each": a_step(map=literal(list(range(10_000))))})
    run = engine.start("wide")
    engine.db.execute(
        "update pgflow.step_tasks set status = 'completed', attempts_count = 1, "
        "started_at = '2036-01-01Z'::timestamptz + task_index / 10 * interval '1 s', "
        "completed_at = '2036-01-01Z'::timestamptz + (task_index / 10 + 10) * interval '1 s' "
        "where run_id = %s",
        [run],
    )
    (made,) = engine.db.execute(
        "select count(*) from pgflow.step_tasks where run_id = %s", [run]
    ).fetchone() or (0,)

    running = engine.call("run_densities", run, 100)["each"]["running"]

    assert len(running) == 100
    assert max(running) == 100
    width = (made / 10 + 9) / 100
    assert abs(sum(running) * width - made * 10) < 0.02 * made * 10
    engine.db.execute(
        "update pgflow.step_tasks set status = 'queued', attempts_count = 0, started_at = null, "
        "completed_at = null where run_id = %s",
        [run],
    )
    engine.call("cancel_run", run)
