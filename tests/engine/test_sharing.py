"""What workers share: queues with tasks of others, runs that are held, and tasks that crash."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.costs import Cost, Meter
from tests.engine.driver import Engine, a_step, done, failed, literal

if TYPE_CHECKING:
    from tests.engine.driver import Task

NOON = "2100-01-01 12:00:00Z"
FOREIGN = "other.work"


def start_many(engine: Engine, flow: str, runs: int) -> None:
    """Start runs whose first tasks become visible at the same time."""
    start = (
        f"select count(*) from pgflow.start_runs('{flow}', array_fill('{{}}'::jsonb, array[%s]))"
    )
    engine.one(start, runs)


def claim_on(engine: Engine, places: dict[str, Any], quantity: int = 100) -> list[Task]:
    """Claim as a worker does that lacks the foreign handler; moves the places on."""
    options = {"places": dict(places)}
    reply = engine.turn(queue="shared", quantity=quantity, refused=[FOREIGN], options=options)
    places.update(reply["places"])
    return list(reply["tasks"])


def test_a_worker_reaches_its_task_behind_any_number_of_others(engine: Engine) -> None:
    """It looks at a thousand at the head and at a thousand more in each claim; then anew."""
    engine.deploy("foreign", {"a": a_step(handler=FOREIGN, queue="shared")})
    engine.deploy("own", {"b": a_step(queue="shared")})
    start_many(engine, "foreign", 3500)
    foreign = "select md5(array_agg(q order by q.msg_id)::text) from pgmq.q_shared q"
    before = engine.one(foreign)
    engine.start("own")
    places: dict[str, Any] = {}

    claims = [claim_on(engine, places) for _ in range(3)]

    (task,) = claims[2]
    assert (claims[:2], task["step"], places) == ([[], []], "b", {"shared": None})
    engine.report(done(task))
    assert engine.one(foreign) == before


def test_a_worker_finds_all_of_its_tasks_among_others(engine: Engine) -> None:
    """Of 2,400 that became visible at one time each second one is its own."""
    engine.deploy("mixed", {
        "a": a_step(handler=FOREIGN, queue="shared"),
        "b": a_step(queue="shared"),
    })  # fmt: skip
    start_many(engine, "mixed", 1200)
    places: dict[str, Any] = {}

    claims = [claim_on(engine, places) for _ in range(14)]

    tasks = [task for claim in claims for task in claim]
    assert {task["step"] for task in tasks} == {"b"}
    assert len({task["run"] for task in tasks}) == 1200


def test_a_claim_among_foreign_tasks_has_a_bounded_cost(engine: Engine) -> None:
    """Two windows of a thousand, and what the second one passes over."""
    engine.deploy("foreign", {"a": a_step(handler=FOREIGN, queue="shared")})
    meter = Meter(engine)

    def cost() -> Cost:
        meter.call("claim", "turn", engine.worker, "[]", ["shared"], 8, "30 s", [FOREIGN])
        return meter.costs["claim"]

    cost()
    start_many(engine, "foreign", 2500)
    few = cost()
    start_many(engine, "foreign", 7500)
    many = cost()

    assert many.rows <= few.rows + 50
    assert few.rows <= 3000


def crash_twice(engine: Engine, *indexes: int) -> None:
    """Let two workers die with these tasks, and give the others back: both leases end by noon."""
    for minute in (58, 59):
        engine.now(f"2100-01-01 11:{minute}:00Z")
        silent = Engine(engine.db)
        claimed = silent.claim("flow")
        assert set(indexes) <= {task["index"] for task in claimed}
        silent.report(*[failed(t, "released") for t in claimed if t["index"] not in indexes])
    engine.now(NOON)


def test_a_task_that_has_crashed_is_given_alone(engine: Engine) -> None:
    """Others first, then one of those that had lost two workers, then the next."""
    engine.now("2100-01-01 11:57:00Z")
    engine.deploy("flow", {"a": a_step(map=literal([0, 1, 2]))})
    engine.start("flow")
    crash_twice(engine, 0, 1)

    replies = [engine.turn(queue="flow") for _ in range(4)]

    given = [[task["index"] for task in reply["tasks"]] for reply in replies]
    told = [(reply.get("alone"), reply.get("crashed")) for reply in replies]
    assert given == [[2], [0], [1], []]
    assert told == [(None, True), (True, None), (True, None), (None, None)]
    assert engine.report(*[done(t) for reply in replies for t in reply["tasks"]]) == ["applied"] * 3


def test_a_busy_worker_leaves_a_crashed_task_and_may_ask_for_it_first(engine: Engine) -> None:
    """Also where it waits for its next attempt, and other tasks are there."""
    engine.now("2100-01-01 11:57:00Z")
    engine.deploy("flow", {"a": a_step(map=literal([0, 1]))})
    engine.start("flow")
    crash_twice(engine, 0)

    (task,) = engine.claim("flow", options={"crashed": "first"})
    engine.report(failed(task))
    engine.now("2100-01-01 12:30:00Z")
    busy = engine.turn(queue="flow", options={"crashed": "no"})
    engine.report(failed(busy["tasks"][0], "released"))
    first = engine.turn(queue="flow", options={"crashed": "first"})
    rest = engine.turn(queue="flow", options={"crashed": "first"})

    assert task["index"] == 0
    assert ([task["index"] for task in busy["tasks"]], busy["crashed"]) == ([1], True)
    assert ([task["index"] for task in first["tasks"]], first["alone"]) == ([0], True)
    assert [task["index"] for task in rest["tasks"]] == [1]


def test_the_tasks_of_a_lost_worker_are_taken_over_together(engine: Engine) -> None:
    """One death proves nothing: those of a lost machine must not run one by one."""
    engine.now("2100-01-01 11:59:00Z")
    engine.deploy("flow", {"a": a_step(map=literal([0, 1, 2]))})
    engine.start("flow")
    Engine(engine.db).claim("flow")
    engine.now(NOON)

    reply = engine.turn(queue="flow", options={"crashed": "no"})

    assert [task["index"] for task in reply["tasks"]] == [0, 1, 2]
    assert "alone" not in reply


def test_a_held_run_is_left_for_later(engine: Engine, other: Engine) -> None:
    """The turn waits a quarter of a second for it, in vain; then it settles the other run."""
    engine.deploy("flow", {"a": a_step()})
    held, free = engine.start("flow"), engine.start("flow")
    one, two = sorted(other.claim("flow"), key=lambda task: task["run"] != held)

    with engine.db.transaction():
        engine.db.execute("select from pgflow.runs where run_id = %s for no key update", [held])
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.report(done(one), done(two))
        reply = other.turn(done(one), done(two), queue="none", quantity=0, options={"skip": True})
    again = other.report(done(one), done(two))

    assert reply["verdicts"] == ["busy", "applied"]
    assert again == ["applied", "run_terminal"]
    assert (engine.status(held), engine.status(free)) == ("completed", "completed")


def test_a_result_that_waits_keeps_its_lease_beyond_the_timeout(
    engine: Engine, other: Engine
) -> None:
    """It would be called twice, for its worker has done all it can."""
    engine.now(NOON)
    engine.deploy("flow", {"a": a_step(timeout=10_000)})
    engine.start("flow")
    (task,) = engine.claim("flow")
    engine.now("2100-01-01 12:00:20Z")
    engine.call("heartbeat", engine.worker, "30 s", json.dumps([{**task, "ended": True}]))
    other.now("2100-01-01 12:00:40Z")

    assert other.claim("flow") == []
    assert engine.report(done(task)) == ["applied"]
