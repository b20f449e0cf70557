"""Limits of runs: they wait at the gate of their flow, and are let in, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.engine.costs import Meter
from tests.engine.driver import a_step, done, failed, path

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def waits(engine: Engine, run: str) -> bool:
    """Whether a run has not begun."""
    return bool(engine.one("select waits_at is not null from pgflow.runs where run_id = %s", run))


def test_one_run_goes_on_at_once_and_the_next_begins_when_it_has_ended(engine: Engine) -> None:
    """A limit of 1 lets the oldest run in; the others have no step until it has ended."""
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 1})
    runs = [engine.start("ship") for _ in range(3)]
    for nr, run in enumerate(runs):
        [task] = engine.claim("ship")
        assert task["run"] == run
        assert [waits(engine, later) for later in runs] == [i > nr for i in range(3)]
        assert engine.report(done(task)) == ["applied"]
    assert engine.claim("ship") == []
    assert engine.one("select count(*) from pgflow.slots") == 0


def test_a_key_that_is_a_list_fails_what_it_limits(engine: Engine) -> None:
    """A run fails before it begins, a task without an attempt; both say why."""
    limit = {"limit": 1, "key": path("input.c")}
    engine.deploy("runs", {"a": a_step()}, input={"c": {}}, concurrency=limit)
    engine.deploy("tasks", {"a": a_step(concurrency=limit)}, input={"c": {}})
    for flow in ("runs", "tasks"):
        run = engine.start(flow, {"c": [1]})
        assert engine.claim(flow) == []
        error = engine.snapshot(run)["run"]["error"]
        assert error["type"] == "ExpressionError"
        assert error["message"] == (
            "concurrency.key: the key must be a text, a number or a boolean, not an array"
        )


def ended(engine: Engine, run: str) -> tuple[str, str]:
    """The status of a run, and the type of its error."""
    shown = engine.snapshot(run)["run"]
    return shown["status"], (shown["error"] or {}).get("type", "")


def test_a_run_that_finds_no_place_ends_at_once_if_it_is_to_skip(engine: Engine) -> None:
    """The start makes a run that is cancelled, and says which run has the place."""
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 1, "when_full": "skip"})
    first = engine.start("ship")
    second = engine.start("ship")
    assert ended(engine, second) == ("cancelled", "LimitReached")
    assert first in engine.snapshot(second)["run"]["error"]["message"]
    [task] = engine.claim("ship")
    assert task["run"] == first
    engine.report(done(task))
    third = engine.start("ship")
    assert [task["run"] for task in engine.claim("ship")] == [third]


def test_two_starts_at_the_same_moment_do_not_both_get_the_place(
    engine: Engine, other: Engine
) -> None:
    """Neither sees the other; the gate lets one in, and the other is skipped after all."""
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 1, "when_full": "skip"})
    with engine.db.transaction():
        first = engine.start("ship")
        second = other.start("ship")
    runs = {task["run"] for task in other.claim("ship")}
    assert len(runs) == 1
    assert {ended(engine, run) for run in {first, second} - runs} == {("cancelled", "LimitReached")}


def test_a_start_in_the_moment_in_which_a_place_is_free_is_not_skipped(engine: Engine) -> None:
    """The gate saw nobody waiting; the run that has come since is let in by its own message."""
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 1, "when_full": "skip"})
    run = engine.start("ship")

    engine.db.execute("select pgflow._turn_away(l, '') from pgflow.limits l")

    assert waits(engine, run)
    assert engine.work("ship") == ["a"]
    assert engine.status(run) == "completed"


def test_two_turns_never_open_one_gate_at_the_same_time(engine: Engine, other: Engine) -> None:
    """The second one does not see whom the first one has let in, so it lets in nobody."""
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 1})
    runs = [engine.start("ship") for _ in range(2)]
    with engine.db.transaction():
        [task] = engine.claim("ship")
        third = other.start("ship")  # leaves a message that opens the gate
        assert other.claim("ship") == []
    assert task["run"] == runs[0]
    assert [waits(engine, run) for run in (*runs, third)] == [False, True, True]
    assert engine.turn(done(task), queue="ship")["tasks"][0]["run"] == runs[1]


def test_a_newer_run_takes_the_place_of_the_older_one(engine: Engine) -> None:
    """The holder and those that wait are cancelled; the newest waits for the holder's clean-up."""
    engine.deploy(
        "ship",
        {"a": a_step()},
        finally_={"f": a_step()},
        concurrency={"limit": 1, "when_full": "replace"},
    )
    first = engine.start("ship")
    [task] = engine.claim("ship")
    second, third = engine.start("ship"), engine.start("ship")
    for _ in range(3):
        assert engine.claim("ship") == []
    assert ended(engine, second) == ("cancelled", "LimitReached")
    assert ended(engine, first) == ("started", "LimitReached")
    [last] = engine.turn(failed(task), queue="ship")["tasks"]
    assert (last["run"], last["step"]) == (first, "f")
    [again] = engine.turn(done(last), queue="ship")["tasks"]
    assert (again["run"], again["step"]) == (third, "a")
    assert ended(engine, first) == ("cancelled", "LimitReached")


def test_a_cancelled_run_that_waits_just_ends(engine: Engine) -> None:
    """Nothing was begun, so nothing of `finally` runs, and its place in the queue is gone."""
    engine.deploy("ship", {"a": a_step()}, finally_={"f": a_step()}, concurrency={"limit": 1})
    runs = [engine.start("ship") for _ in range(3)]
    [task] = engine.claim("ship")
    engine.call("cancel_run", runs[1])
    assert ended(engine, runs[1]) == ("cancelled", "Cancelled")
    [last] = engine.turn(done(task), queue="ship")["tasks"]
    assert last["step"] == "f"
    [task] = engine.turn(done(last), queue="ship")["tasks"]
    assert task["run"] == runs[2]


def test_a_retried_run_asks_for_its_slot_again(engine: Engine) -> None:
    """It goes on where it stopped, when the run that has the place has ended."""
    steps = {"a": a_step(), "b": a_step("a")}
    engine.deploy("ship", steps, concurrency={"limit": 1}, timeout=60_000)
    first = engine.start("ship")
    engine.work("ship", broken=["b"])
    assert ended(engine, first)[0] == "failed"
    second = engine.start("ship")
    [task] = engine.claim("ship")
    engine.call("retry_run", first)
    assert engine.claim("ship") == []
    assert waits(engine, first)
    [next_task] = engine.turn(done(task), queue="ship")["tasks"]
    assert next_task["run"] == second
    [again] = engine.turn(done(next_task), queue="ship")["tasks"]
    assert (again["run"], again["step"]) == (first, "b")
    engine.report(done(again))
    assert ended(engine, first)[0] == "completed"


def test_a_run_that_was_turned_away_can_be_retried(engine: Engine) -> None:
    """It has no steps yet, so all of them run."""
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 1, "when_full": "skip"})
    first, second = engine.start("ship"), engine.start("ship")
    assert engine.work("ship") == ["a"]
    reply = engine.call("retry_run", second)
    assert reply["again"] == ["a"]
    assert engine.work("ship") == ["a"]
    assert [ended(engine, run)[0] for run in (first, second)] == ["completed", "completed"]


def test_a_lower_limit_stops_nobody_and_lets_nobody_in(engine: Engine) -> None:
    """Until fewer are held than the new version allows; a limit that is removed lets all in."""
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 4})
    for _ in range(8):
        engine.start("ship")
    tasks = engine.claim("ship")
    assert len(tasks) == 4
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 2})
    assert engine.turn(done(tasks[0]), queue="ship")["tasks"] == []
    assert engine.turn(done(tasks[1]), queue="ship")["tasks"] == []
    assert len(engine.turn(done(tasks[2]), queue="ship")["tasks"]) == 1
    engine.deploy("ship", {"a": a_step(), "b": a_step("a")})
    assert len(engine.claim("ship")) == 3


def test_the_sweep_mends_slots_that_do_not_fit(engine: Engine) -> None:
    """Lost, left and forgotten ones: I9 says each, and holds again after a sweep."""
    engine.deploy("runs", {"a": a_step()}, concurrency={"limit": 1})
    engine.deploy("tasks", {"a": a_step(concurrency={"limit": 1})})
    for flow in ("runs", "tasks"):
        for _ in range(3):
            engine.start(flow)
        assert len(engine.claim(flow)) == 1
    for statement in (
        "delete from pgflow.slots",
        "update pgflow.slots set run_id = gen_random_uuid() where held",
        "delete from pgflow.slots where held",
        "delete from pgflow.slots where not held",
    ):
        engine.db.execute(statement.encode())
        assert {row[0] for row in engine.violations()} <= {"I9"}
        engine.call("sweep")
        engine.call("sweep")
        assert engine.violations() == []
        assert engine.claim("runs") + engine.claim("tasks") == []


def test_the_sweep_opens_a_gate_whose_message_is_gone(engine: Engine) -> None:
    """A free place, somebody who waits, and nothing that opens the gate."""
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 1})
    engine.start("ship")
    engine.db.execute("delete from pgmq.q_pgflow__timers")
    assert [row[0] for row in engine.violations()] == ["I9"]
    assert engine.claim("ship") == []
    assert engine.call("sweep") == 1
    assert len(engine.claim("ship")) == 1


def runs_flow(name: str, **keys: object) -> dict[str, object]:
    """A step that runs a flow."""
    step = a_step(flow=name, **keys)
    del step["handler"]
    return step


def test_a_limited_flow_that_can_run_itself_is_refused(engine: Engine) -> None:
    """Directly, through others, by a pinned version, and when an old version is activated."""
    with pytest.raises(psycopg.Error, match=r"wait for itself for ever: loop → loop"):
        engine.deploy("loop", {"a": runs_flow("loop")}, concurrency={"limit": 3})
    engine.deploy("a", {"a": runs_flow("b")}, concurrency={"limit": 1})
    engine.deploy("b", {"b": runs_flow("c")})
    old = engine.deploy("c", {"c": a_step()})["version"]
    with pytest.raises(psycopg.Error, match=r"a → b → c → a"):
        engine.deploy("c", {"c": runs_flow("a")})
    engine.deploy("b", {"b": runs_flow(f"c@{old}")})
    looping = engine.deploy("c", {"c": runs_flow("a")})["version"]
    with pytest.raises(psycopg.Error, match=r"a → b → c → a"):
        engine.deploy("b", {"b": runs_flow("c")})
    engine.call("activate", "c", old)
    engine.deploy("b", {"b": runs_flow("c")})
    with pytest.raises(psycopg.Error, match=r"a → b → c → a"):
        engine.call("activate", "c", looping)


def test_a_limited_step_whose_child_runs_the_step_again_is_refused(engine: Engine) -> None:
    """Without a limit such a flow is allowed, and so is a limited step beside the circle."""
    engine.deploy("a", {"a": runs_flow("b", concurrency={"limit": 2})})
    with pytest.raises(psycopg.Error, match=r"a → b → a"):
        engine.deploy("b", {"b": runs_flow("a")})
    engine.deploy("a", {"a": runs_flow("b"), "c": runs_flow("d", concurrency={"limit": 2})})
    engine.deploy("b", {"b": runs_flow("a")})


@pytest.mark.slow
def test_ten_thousand_waiting_runs_cost_the_turns_of_others_nothing(engine: Engine) -> None:
    """Pages and rows that an empty turn reads, and the turns of another flow, before and after."""
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 1})
    engine.deploy("free", {"a": a_step()})
    engine.start("ship")
    [held] = engine.claim("ship")

    def costs() -> dict[str, tuple[int, int]]:
        meter = Meter(engine)
        for _ in range(2):  # the first one fills the caches of the session
            meter.turn("empty", queue="ship")
            engine.start("free")
            tasks = meter.turn("claim", queue="free")
            meter.turn("report", *map(done, tasks), queue="free")
        return {name: (cost.pages, cost.rows) for name, cost in meter.costs.items()}

    before = costs()
    engine.call("start_runs", "ship", ["{}"] * 10_000)
    assert engine.claim("ship") == []  # opens the gate, which is full
    after = costs()

    assert after["empty"][0] <= before["empty"][0] + 2
    for name, (pages, rows) in before.items():
        assert after[name][0] <= pages * 1.05 + 6, name  # the keys of the runs have a level more
        assert after[name][1] <= rows, name
    assert len(engine.turn(done(held), queue="ship")["tasks"]) == 1
    engine.db.execute("truncate pgflow.slots, pgflow.runs cascade")
    engine.db.execute("delete from pgmq.q_ship")
