"""The timer queue: without a claim, in time, and whatever one of its messages holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.driver import a_child, a_step, a_wait, done, failed

if TYPE_CHECKING:
    from tests.engine.driver import Engine

NOON = "2036-01-01 12:00:00Z"
TIMERS = "pgmq.q_pgflow__timers"


def wind(engine: Engine) -> dict[str, Any]:
    reply: dict[str, Any] = engine.call("wind", engine.worker)
    return reply


def insert(engine: Engine, message: object) -> None:
    query = f"insert into {TIMERS} (vt, message) values (%s, %s)"
    engine.db.execute(query.encode(), [NOON, json.dumps(message)])


def kept(engine: Engine) -> list[Any]:
    """What lies in the timer queue, and for how many milliseconds."""
    query = f"""select array_agg(jsonb_build_array(
      t.message, extract(epoch from t.vt - pgflow.clock()) * 1000)) from {TIMERS} t"""
    return engine.one(query) or []


def test_timers_run_without_a_claim(engine: Engine) -> None:
    """A wait, the timeout of a run, a child's start and end; no task is claimed."""
    engine.deploy("nap", {"pause": a_wait(wait={"for": 1000})})
    engine.deploy("parent", {"sub": a_child("nap"), "a": a_step()})
    engine.deploy("short", {"a": a_step()}, timeout=1000)
    engine.now(NOON)
    parent, short = engine.start("parent"), engine.start("short")

    replies = [wind(engine)]
    engine.now("2036-01-01 12:00:01Z")
    replies += [wind(engine), wind(engine)]

    assert [reply.get("timers") for reply in replies] == [1, 2, 1]
    assert engine.statuses(parent) == {"sub": "completed", "a": "started"}
    assert engine.status(short) == "failed"
    assert (
        engine.one("select count(*) from pgflow.step_tasks where last_worker_id is not null") == 0
    )


def test_a_reply_says_when_the_next_message_is_due(engine: Engine) -> None:
    """In the timer queue and, for a turn, in the queues it serves; not if tasks were claimed."""
    engine.deploy("nap", {"pause": a_wait(wait={"for": 1500})})
    retry = {"base_delay": 400}
    engine.deploy("flow", {"a": a_step(retry=retry)})
    engine.now(NOON)
    run = engine.start("flow")
    reply = engine.turn(queue="flow")
    (task,) = reply["tasks"]

    claimed = "next_ms" in reply
    nothing = engine.turn(queue="flow")["next_ms"]
    engine.start("nap")
    napping = engine.turn(queue="flow")["next_ms"]
    again = engine.turn(failed(task), queue="flow")["next_ms"]
    elsewhere = engine.turn(queue="nap")["next_ms"]

    assert (claimed, nothing, napping, again, elsewhere) == (False, None, 1500, 400, 1500)
    assert wind(engine) == {"next_ms": 1500}
    assert engine.status(run) == "started"


def test_a_reply_names_no_message_that_cannot_be_taken_now(engine: Engine) -> None:
    """Not what other workers are to run, not a lease, not what lies further off than a poll."""
    engine.deploy("flow", {"a": a_step(initial_tasks=5)})
    engine.deploy("later", {"pause": a_wait(wait={"for": 10_001})})
    engine.now(NOON)
    engine.start("flow")
    engine.start("later")

    refused = engine.turn(queue="flow", quantity=2, refused=["app.work"])
    engine.claim("flow", quantity=1)
    left = engine.turn(queue="flow", quantity=2, refused=["app.work"])
    engine.now("2036-01-01 12:00:01Z")
    near = engine.turn(queue="none")

    assert (refused["tasks"], refused["next_ms"]) == ([], None)
    assert left["next_ms"] is None
    assert near["next_ms"] == 9001


def break_waits(engine: Engine, message: str) -> None:
    """Let the end of any wait fail."""
    engine.db.execute(
        f"""
        create function public.fault() returns trigger language plpgsql as $$
        begin
          raise exception 'injected {message}';
        end $$;
        create trigger fault before update on pgflow.step_states
        for each row when (new.status = 'completed') execute function public.fault()
        """.encode()
    )


def test_a_timer_that_fails_is_tried_again_soon(engine: Engine) -> None:
    """After 100 ms, then twice as long each time; another timer beside it runs; all is said."""
    engine.deploy("nap", {"pause": a_wait(wait={"for": 1000})})
    engine.deploy("short", {"ask": a_wait(wait={"event": "x"})}, timeout=1000)
    engine.now(NOON)
    run, short = engine.start("nap"), engine.start("short")
    break_waits(engine, "fault")
    engine.now("2036-01-01 12:00:01Z")

    first = wind(engine)
    early = wind(engine)
    engine.now("2036-01-01 12:00:01.1Z")
    second = engine.turn(queue="nap")
    engine.now("2036-01-01 12:00:01.3Z")
    engine.db.execute("drop trigger fault on pgflow.step_states")
    healed = wind(engine)

    (error,) = first["timer_errors"]
    assert error["timer"] == {"kind": "wait", "run_id": run, "step_slug": "pause"}
    assert (error["error"], error["tries"], error["pause_ms"]) == ("injected fault", 1, 100)
    assert (first["timers"], first["next_ms"], early) == (1, 100, {"next_ms": 100})
    assert second["timer_errors"][0] | {"tries": 2, "pause_ms": 200} == second["timer_errors"][0]
    ended = [{"run": run, "flow": "nap", "status": "completed"}]
    assert healed == {"timers": 1, "next_ms": None, "ended": ended}
    assert [engine.status(run), engine.status(short)] == ["completed", "failed"]


def test_a_timer_that_always_fails_is_tried_twice_a_minute(engine: Engine) -> None:
    """The pause has a bound, and each try is said; nothing is dropped."""
    engine.deploy("nap", {"pause": a_wait(wait={"for": 1000})})
    engine.start("nap")
    break_waits(engine, "fault")
    due = f"update {TIMERS} set vt = pgflow.clock()"

    pauses = []
    for _ in range(12):
        engine.db.execute(due.encode())
        pauses += [error["pause_ms"] for error in wind(engine)["timer_errors"]]

    assert pauses == [100 * 2**n for n in range(9)] + [30_000] * 3
    engine.db.execute("drop trigger fault on pgflow.step_states")
    engine.db.execute(due.encode())
    assert wind(engine)["timers"] == 1


def test_a_timer_that_goes_on_forgets_its_failures(engine: Engine) -> None:
    """A child's task keeps its message: what failed when it started is not counted at its end."""
    engine.deploy("child", {"ask": a_wait(wait={"event": "x"})})
    engine.deploy("parent", {"sub": a_child("child", timeout=1000)})
    engine.start("parent")
    engine.db.execute("alter table pgflow.runs add constraint fault check (depth = 0)")
    wind(engine)
    failures = kept(engine)[0][0]["tries"]
    engine.db.execute("alter table pgflow.runs drop constraint fault")
    engine.db.execute(f"update {TIMERS} set vt = pgflow.clock()".encode())

    started = wind(engine)["timers"]

    assert (failures, started) == (1, 1)
    assert "tries" not in kept(engine)[0][0]


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "of a later release", "gate": "flow:order"},
        {"kind": None, "task_index": 0},
        {},
        "no object",
        None,
    ],
)
def test_a_timer_of_an_unknown_kind_is_kept(engine: Engine, message: object) -> None:
    """It names no run, or one that is there: it waits for a release that knows it."""
    engine.deploy("flow", {"a": a_step()}, timeout=3_600_000)
    engine.now(NOON)
    run = engine.start("flow")
    engine.db.execute(f"delete from {TIMERS}".encode())
    for each in (message, message | {"run_id": run} if isinstance(message, dict) else message):
        insert(engine, each)

    reply = wind(engine)

    assert "timers" not in reply
    assert len(reply["timer_errors"]) == 2
    assert all("no timers of the kind" in error["error"] for error in reply["timer_errors"])
    assert [pause for _, pause in kept(engine)] == [100, 100]
    assert engine.statuses(run) == {"a": "started"}
    engine.db.execute(f"delete from {TIMERS}".encode())


@pytest.mark.parametrize("kind", ["make", "wait", "deadline", "cancel", "child", None])
def test_a_message_of_a_run_that_is_gone_is_dropped(engine: Engine, kind: str | None) -> None:
    """In the timer queue as in the queue of a flow."""
    engine.deploy("flow", {"a": a_step()})
    engine.now(NOON)
    gone = {"run_id": "00000000-0000-4000-8000-000000000000", "step_slug": "a", "task_index": 0}
    insert(engine, gone | ({"kind": kind} if kind else {}))
    engine.db.execute(
        "insert into pgmq.q_flow (vt, message) values (%s, %s)", [NOON, json.dumps(gone)]
    )

    reply = engine.turn(queue="flow")

    assert (reply["tasks"], reply["next_ms"]) == ([], None)
    assert kept(engine) == []
    assert engine.one("select count(*) from pgmq.q_flow") == 0


def test_a_start_makes_no_table(engine: Engine, other: Engine) -> None:
    """The timer queue is there already: a start in an open transaction keeps no other waiting."""
    engine.deploy("flow", {"a": a_step()}, timeout=60_000)
    other.db.execute("set lock_timeout = '2s'")

    with engine.db.transaction():
        engine.start("flow")
        run = other.start("flow")

    assert other.status(run) == "started"


def test_a_timer_queue_dropped_by_hand_comes_back(engine: Engine) -> None:
    """With the next timer; until then it is empty."""
    engine.deploy("nap", {"pause": a_wait(wait={"for": 1000}), "a": a_step("pause")})
    engine.now(NOON)
    engine.db.execute("select pgmq.drop_queue('pgflow__timers')")

    empty = wind(engine)
    run = engine.start("nap")
    engine.now("2036-01-01 12:00:01Z")
    (a,) = engine.claim("nap")
    engine.report(done(a))

    assert empty == {"next_ms": None}
    assert engine.status(run) == "completed"


def test_a_full_batch_of_timers_is_followed_by_the_next_at_once(engine: Engine) -> None:
    """What was due and was not taken is not waited for."""
    engine.deploy("flow", {"a": a_wait(wait={"for": 1000})})
    engine.now(NOON)
    engine.db.execute("select pgflow.start_runs('flow', array_fill('{}'::jsonb, array[60]))")
    engine.now("2036-01-01 12:00:02Z")

    replies = [wind(engine) for _ in range(2)]

    assert [(reply["timers"], reply["next_ms"]) for reply in replies] == [(50, 0), (10, None)]
