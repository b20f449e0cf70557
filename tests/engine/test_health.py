"""What an operator looks at: queues, workers, handlers that nobody has, runs by more filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.engine.driver import Engine, a_child, a_step, a_wait, failed

if TYPE_CHECKING:
    import psycopg

NOON = "2036-01-01 12:00:00Z"


def queue_of(engine: Engine, name: str) -> dict[str, Any]:
    """The row of one queue."""
    (row,) = (row for row in engine.call("list_queues") if row["queue"] == name)
    return dict(row)


def test_a_queue_says_what_lies_in_it_and_who_holds_it(engine: Engine) -> None:
    """Visible, leased and parked are apart: a task before its next attempt is not leased."""
    engine.now(NOON)
    engine.deploy("flow", {name: a_step() for name in "abcd"})
    run = engine.start("flow")
    engine.now("2036-01-01 12:00:10Z")
    engine.call("register_worker", engine.worker, None, "{}")
    first, second = engine.claim("flow", quantity=2)
    engine.report(failed(second))

    row = queue_of(engine, "flow")

    assert (row["visible"], row["leased"], row["parked"]) == (2, 1, 1)
    assert row["oldest_at"] == "2036-01-01T12:00:00+00:00"
    assert (row["workers"], row["limited"], row["exists"]) == (1, False, True)
    holder = row["holder"]
    assert (holder["run_id"], holder["step"], holder["index"]) == (run, first["step"], 0)
    assert (holder["since"], holder["alive"]) == ("2036-01-01T12:00:10+00:00", True)
    (worker,) = engine.call("list_workers")
    assert (worker["worker"], worker["status"], worker["busy"]) == (engine.worker, "alive", 1)
    assert (worker["queues"], worker["host"], worker["slots"]) == (None, None, None)


def test_timers_are_parked_until_they_are_due(engine: Engine) -> None:
    """Their queue is there before the first flow; every worker serves it."""
    before = queue_of(engine, "pgflow__timers")
    engine.deploy("flow", {"nap": a_wait(wait={"for": 60_000})})
    engine.now(NOON)
    engine.start("flow")
    asleep = queue_of(engine, "pgflow__timers")
    engine.now("2036-01-01 12:01:30Z")
    due = queue_of(engine, "pgflow__timers")

    assert (before["visible"], before["parked"], before["workers"]) == (0, 0, 1)
    assert (asleep["visible"], asleep["parked"], asleep["oldest_at"]) == (0, 1, None)
    assert (due["visible"], due["oldest_at"]) == (1, "2036-01-01T12:01:00+00:00")


def test_only_living_workers_serve_a_queue(engine: Engine) -> None:
    """Silent ones are listed for a day, those that have stopped only when asked for."""
    engine.deploy("flow", {"a": a_step()})
    gone, other = str(uuid4()), str(uuid4())
    engine.now(NOON)
    for worker in (engine.worker, gone):
        engine.call("register_worker", worker, None, '{"host": "h", "pid": 7, "concurrency": 4}')
    engine.call("register_worker", other, ["elsewhere"], "{}")
    engine.call("stop_worker", gone)
    engine.now("2036-01-01 12:02:00Z")
    engine.call("register_worker", engine.worker, None, "{}")

    listed = {row["worker"]: row for row in engine.call("list_workers")}
    every = {row["worker"]: row["status"] for row in engine.call("list_workers", True)}

    assert {name: row["status"] for name, row in listed.items()} == {
        engine.worker: "alive",
        other: "silent",
    }
    assert listed[other]["queues"] == ["elsewhere"]
    assert every == {engine.worker: "alive", other: "silent", gone: "stopped"}
    assert queue_of(engine, "flow")["workers"] == 1
    engine.now("2036-01-03 12:00:00Z")
    assert engine.call("list_workers") == []


def test_counts_end_where_a_read_would_take_long(engine: Engine) -> None:
    """At 10,000, with a word that there are more."""
    engine.deploy("flow", {"a": a_step()})
    engine.db.execute("""insert into pgmq.q_flow (vt, message)
        select now(), '{"kind": "of another program"}' from generate_series(1, 10001)""")

    row = queue_of(engine, "flow")

    assert (row["visible"], row["limited"]) == (10_000, True)
    engine.db.execute("delete from pgmq.q_flow")


def test_a_dropped_queue_is_listed_as_such(engine: Engine) -> None:
    """And nothing fails over it."""
    engine.deploy("flow", {"a": a_step()})
    engine.db.execute("select pgmq.drop_queue('flow')")

    row = queue_of(engine, "flow")

    assert (row["exists"], row["visible"], row["oldest_at"]) == (False, 0, None)
    assert engine.call("list_workers")


def test_a_missing_handler_is_listed_with_what_waits_for_it(engine: Engine) -> None:
    """Its flows and runs; not tasks of other handlers, nor of runs that have ended."""
    engine.now(NOON)
    engine.deploy("flow", {"a": a_step(handler="app.gone"), "b": a_step()})
    engine.call("cancel_run", engine.start("flow"))
    run = engine.start("flow")
    engine.claim("flow", refused=["app.gone"])

    (row,) = engine.call("list_missing_handlers")

    assert row == {
        "handler": "app.gone",
        "since": "2036-01-01T12:00:00+00:00",
        "tasks": 1,
        "flows": ["flow"],
        "runs": [run],
    }


def test_the_history_says_how_old_it_is(engine: Engine) -> None:
    """The oldest run that has ended, the runs of a day."""
    engine.deploy("flow", {"a": a_step()})
    empty = engine.call("history")
    engine.now("2036-01-01 12:00:00Z")
    engine.start("flow")
    engine.call("cancel_run", engine.start("flow"))
    engine.now("2036-01-03 12:00:00Z")
    engine.start("flow")

    history = engine.call("history")

    assert (empty["oldest_ended_at"], empty["runs_a_day"]) == (None, 0)
    assert history["oldest_ended_at"] == "2036-01-01T12:00:00+00:00"
    assert history["runs_a_day"] == 1


def test_invariants_are_checked_in_live_and_in_ended_runs(db: psycopg.Connection) -> None:
    """With their number; the first violations are named."""
    engine = Engine(db)
    engine.deploy("flow", {"a": a_step()})
    runs = [engine.start("flow") for _ in range(60)]
    engine.call("cancel_run", runs[0])
    engine.claim("flow", quantity=5)
    well = engine.call("check_invariants")

    db.execute("update pgflow.step_tasks set status = 'queued' where run_id = %s", [runs[0]])
    db.execute("delete from pgmq.q_flow where msg_id in (select min(msg_id) from pgmq.q_flow)")
    db.execute("""insert into pgmq.q_flow (vt, message) values (now(), '{"run_id": "x"}')""")
    found = engine.call("check_invariants")

    assert well == {"runs": 60, "whole": True, "count": 0, "violations": []}
    assert sorted(row["invariant"] for row in found["violations"]) == ["I1", "I2", "I2", "I8"]
    assert found["count"] == 4
    assert engine.call("check_invariants", 0)["runs"] == 50


class Filtered:
    """Runs of all kinds, and the filters that find them."""

    def __init__(self, engine: Engine) -> None:
        self.call = engine.call
        engine.now(NOON)
        engine.deploy("child", {"work": a_step()})
        engine.deploy("parent", {"sub": a_child("child")})
        engine.deploy("asks", {"ok": a_wait(wait={"event": "go"})})
        engine.deploy("flow", {"a": a_step(retry={"max_attempts": 1})})
        self.parent, self.asks = engine.start("parent"), engine.start("asks")
        engine.claim("nobody")
        engine.now("2036-01-03 12:00:00Z")
        self.broken, self.runs = engine.start("flow"), engine.start("flow")
        (task, _) = engine.claim("flow")
        error = {"type": "CardTimeout", "message": "acquirer B did not answer"}
        engine.report(failed(task, error=error))
        self.broken, self.runs = task["run"], ({self.broken, self.runs} - {task["run"]}).pop()

    def listed(self, **filters: Any) -> list[str]:
        """The ids of the runs that match."""
        names = ["flow", "status", "since", "limit", "labels", "children", "older", "parent"]
        defaults = {"limit": 20, "children": False}
        arguments = [filters.get(name, defaults.get(name)) for name in [*names, "error"]]
        return [row["id"] for row in self.call("list_runs", *arguments)]


def test_runs_are_found_by_what_they_wait_for_who_started_them_and_how_they_failed(
    engine: Engine,
) -> None:
    """Each filter alone and with others."""
    runs = Filtered(engine)

    assert set(runs.listed(status="waiting")) == {runs.parent, runs.asks}
    assert runs.listed(status="waiting", flow="asks") == [runs.asks]
    assert set(runs.listed(status="started")) == {runs.parent, runs.asks, runs.runs}
    (child,) = runs.listed(parent=runs.parent)
    assert child in runs.listed(children=True)
    assert runs.listed(parent=runs.parent, status="waiting") == []
    assert runs.listed(error="cardtimeout: ACQUIRER b") == [runs.broken]
    assert runs.listed(error="answer", status="failed") == [runs.broken]
    assert runs.listed(error="nothing of it") == []
    assert set(runs.listed(older="1 day")) == {runs.parent, runs.asks}
    assert set(runs.listed(since="1 day")) == {runs.broken, runs.runs}
    assert runs.listed(older="1 day", since="1 day") == []


def test_names_are_completed(engine: Engine) -> None:
    """Flows, queues, the steps of a run, the newest runs and keys."""
    engine.deploy("order", {"reserve": a_step(), "refund": a_step("reserve", queue="slow")})
    engine.deploy("other", {"a": a_step()})
    engine.db.execute("update pgflow.definitions set description = 'x y' where name = 'other'")
    run = engine.start("order", key="order-7")

    def completed(*arguments: str | None) -> list[str]:
        return [each["value"] for each in engine.call("complete", *arguments)]

    assert completed("flow", "o") == ["order", "other"]
    assert engine.call("complete", "flow", "ot")[0]["help"] == "x y"
    assert completed("queue", "") == ["order", "other", "slow"]
    assert completed("step", "re", run[:8]) == ["reserve", "refund"]
    assert completed("step", "re", "no such run") == []
    assert completed("run", "") == [run[:8]]
    assert completed("run", run[:5].upper()) == [run[:8]]
    assert completed("run", run[:10]) == [run]
    assert completed("run", "ord") == ["order-7"]
    assert completed("nonsense", "") == []


@pytest.mark.parametrize("filters", [{"since": "-1 s"}, {"older": "-1 s"}, {"limit": -1}])
def test_a_filter_that_is_none_is_refused(engine: Engine, filters: dict[str, Any]) -> None:
    """PF006, one sentence."""
    runs = Filtered(engine)

    with pytest.raises(Exception, match=r"a time back is|a limit is") as raised:
        runs.listed(**filters)
    assert getattr(raised.value, "sqlstate", None) == "PF006"
