"""Waits: timers, events, decisions. No worker, no attempt, no task; SQL settles them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.engine.driver import a_step, a_wait, done, literal, path

if TYPE_CHECKING:
    from tests.engine.driver import Engine

NOON = "2036-01-01 12:00:00Z"


def test_a_timer_holds_nothing_and_goes_on_by_itself(engine: Engine) -> None:
    """wait.for: started, no task; the first turn after its time lets the next step run."""
    engine.deploy("flow", {"pause": a_wait(wait={"for": 600_000}), "a": a_step("pause")})
    engine.now(NOON)
    run = engine.start("flow")

    waiting = engine.snapshot(run)["steps"][0]
    tasks = engine.one("select count(*) from pgflow.step_tasks")
    engine.now("2036-01-01 12:09:59Z")
    early = engine.claim("flow")
    engine.now("2036-01-01 12:10:00Z")
    (a,) = engine.claim("flow")
    engine.report(done(a, "after"))

    assert waiting["status"] == "waiting"
    assert waiting["waits"]["kind"] == "timer"
    assert waiting["waits"]["until"] == "2036-01-01T12:10:00+00:00"
    assert (tasks, early) == (0, [])
    assert engine.snapshot(run)["run"]["output"] == {"a": "after"}


@pytest.mark.parametrize(
    ("wait", "end"),
    [
        ({"for": literal(90)}, "12:01:30"),
        ({"for": literal("1.5h")}, "13:30:00"),
        ({"for": path("input.pause")}, "12:00:20"),
        ({"until": literal("2036-01-01T14:00:00+01:00")}, "13:00:00"),
        ({"until": literal(2082801900)}, "12:05:00"),
    ],
)
def test_a_timer_may_be_computed(engine: Engine, wait: dict[str, object], end: str) -> None:
    """Seconds or a duration text; a time with an offset or epoch seconds."""
    engine.deploy("flow", {"pause": a_wait(wait=wait)}, input={"pause": {}})
    engine.now(NOON)
    run = engine.start("flow", {"pause": "20s"})

    until = engine.snapshot(run)["steps"][0]["waits"]["until"]

    assert until == f"2036-01-01T{end}+00:00"
    engine.now(f"2036-01-01 {end}Z")
    engine.claim("flow")
    assert engine.status(run) == "completed"


@pytest.mark.parametrize(
    "wait",
    [{"for": literal("soon")}, {"until": literal("2036-13-01T00:00:00Z")}, {"for": literal([])}],
)
def test_a_time_that_is_none_fails_the_step(engine: Engine, wait: dict[str, object]) -> None:
    """ExpressionError, with the value in the sentence."""
    engine.deploy("flow", {"pause": a_wait(wait=wait)})

    run = engine.start("flow")

    error = engine.snapshot(run)["run"]["error"]
    assert error["type"] == "ExpressionError"
    assert error["message"].startswith("wait.")


def test_a_value_that_is_no_time_is_cut_in_the_sentence(engine: Engine) -> None:
    """An output may have 2 MB; an error is for reading."""
    engine.deploy("flow", {"pause": a_wait(wait={"until": literal("x" * 100_000)})})

    run = engine.start("flow")

    assert len(engine.snapshot(run)["run"]["error"]["message"]) < 400


def test_an_event_completes_the_step_with_its_payload(engine: Engine) -> None:
    """The first one wins; a later one changes nothing and says so."""
    engine.deploy("flow", {"paid": a_wait(wait={"event": "payment"}), "a": a_step("paid")})
    run = engine.start("flow")

    first = engine.call("send_event", run, "payment", '{"sum": 5}', "ann")
    second = engine.call("send_event", run, "payment", '{"sum": 6}')

    assert (first["steps"], first["stored"], first["already"]) == (["paid"], False, False)
    assert (second["steps"], second["stored"], second["already"]) == ([], False, True)
    (a,) = engine.claim("flow")
    engine.report(done(a))
    assert engine.snapshot(run)["steps"][0]["output"] == {"sum": 5}
    assert engine.one("select sent_by from pgflow.events") == "ann"


def test_an_event_may_come_before_the_wait(engine: Engine) -> None:
    """It is kept, and completes the step when this is reached, and another of the same name too."""
    engine.deploy(
        "flow",
        {
            "a": a_step(),
            "paid": a_wait("a", wait={"event": "x"}),
            "too": a_wait("paid", wait={"event": "x"}),
        },
    )
    engine.start("flow", key="order-7")

    reply = engine.call("send_event", "order-7", "x", "1")
    engine.work("flow")

    assert reply["stored"]
    assert engine.statuses(reply["run_id"]) == {
        "a": "completed",
        "paid": "completed",
        "too": "completed",
    }


def test_an_event_that_does_not_come_is_a_failure(engine: Engine) -> None:
    """WaitTimeout, by when_exhausted like any other."""
    engine.deploy("flow", {
        "paid": a_wait(wait={"event": "x", "timeout": 1000}),
        "nice": a_wait(wait={"event": "y", "timeout": 500}, when_exhausted="skip"),
    })  # fmt: skip
    engine.now(NOON)
    run = engine.start("flow")

    engine.now("2036-01-01 12:00:00.6Z")
    engine.claim("flow")
    between = engine.statuses(run)
    engine.now("2036-01-01 12:00:01Z")
    engine.claim("flow")

    assert between == {"paid": "waiting", "nice": "skipped"}
    error = engine.snapshot(run)["run"]["error"]
    assert (error["type"], error["step"]) == ("WaitTimeout", "paid")


def test_an_approval_completes_and_a_rejection_fails(engine: Engine) -> None:
    """Who and what they said is the output, or in the error."""
    engine.deploy("flow", {"ok": a_wait(wait={"event": "approval"})})
    yes, no = engine.start("flow"), engine.start("flow")

    approved = engine.call("approve_step", yes, "ok", "fine", "ann")
    rejected = engine.call("reject_step", no, "ok", "not today", "bob")

    assert (approved["status"], approved["applied"], approved["by"]) == ("approved", True, "ann")
    assert (rejected["status"], rejected["applied"]) == ("rejected", True)
    assert engine.snapshot(yes)["run"]["output"] == {"ok": {"by": "ann", "comment": "fine"}}
    error = engine.snapshot(no)["run"]["error"]
    assert (error["type"], error["message"]) == ("Rejected", "rejected by bob: not today")
    assert engine.one("select array_agg(action order by id) from pgflow.audit")[-2:] == [
        "approve",
        "reject",
    ]


@pytest.mark.parametrize("first", ["approve_step", "reject_step"])
def test_the_first_decision_stands_and_may_come_early(engine: Engine, first: str) -> None:
    """Before the step waits it is kept; the opposite changes nothing, whenever it comes."""
    engine.deploy("flow", {"a": a_step(), "ok": a_wait("a", wait={"event": "approval"})})
    run = engine.start("flow")

    early = engine.call(first, run, "ok", None, "ann")
    against = engine.call(
        "reject_step" if first == "approve_step" else "approve_step", run, "ok", None, "bob"
    )
    engine.work("flow")
    after = engine.call("approve_step", run, "ok")

    stands = "approved" if first == "approve_step" else "rejected"
    assert [reply["status"] for reply in (early, against, after)] == [stands] * 3
    assert [reply["applied"] for reply in (early, against, after)] == [True, False, False]
    assert engine.status(run) == ("completed" if stands == "approved" else "failed")


def test_a_key_that_looks_like_an_id_takes_no_words_from_that_run(engine: Engine) -> None:
    """Whoever may start runs could else take another run's approvals."""
    engine.deploy("flow", {"w": a_wait(wait={"event": "go"})})
    run = engine.start("flow")
    engine.start("flow", key=run)

    reply = engine.call("approve_step", run, "w")

    assert reply["run_id"] == run
    assert engine.status(run) == "completed"


def test_nothing_is_said_to_a_run_that_has_ended(engine: Engine) -> None:
    """PF005 says how it ended."""
    engine.deploy("flow", {"ok": a_wait(wait={"event": "x"})})
    run = engine.start("flow")
    engine.call("cancel_run", run)

    for call in (("send_event", run, "x"), ("approve_step", run, "ok")):
        with pytest.raises(psycopg.Error, match="cancelled") as refused:
            engine.call(*call)
        assert refused.value.sqlstate == "PF005"


def test_a_word_that_is_rolled_back_was_not_said(engine: Engine) -> None:
    """It is part of the caller's own transaction."""
    engine.deploy("flow", {"ok": a_wait(wait={"event": "x"})})
    run = engine.start("flow")

    with engine.db.transaction(force_rollback=True):
        engine.call("approve_step", run, "ok")

    assert engine.statuses(run) == {"ok": "waiting"}


def test_a_run_past_its_timeout_fails(engine: Engine) -> None:
    """RunTimeout; what is live is cancelled, and the clock keeps nothing of it."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")}, timeout=5000)
    engine.now(NOON)
    late, early = engine.start("flow"), engine.start("flow")
    tasks = engine.claim("flow")
    engine.report(*(done(task) for task in tasks if task["run"] == early))
    engine.report(*(done(task) for task in engine.claim("flow")))

    engine.now("2036-01-01 12:00:05Z")
    engine.claim("flow")

    assert engine.status(early) == "completed"
    shown = engine.snapshot(late)["run"]
    assert (shown["status"], shown["error"]["type"]) == ("failed", "RunTimeout")
    assert engine.statuses(late) == {"a": "cancelled", "b": "cancelled"}
    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 0


def test_cancelled_waits_leave_the_clock_empty(engine: Engine) -> None:
    """The message of a wait goes with it."""
    engine.deploy("flow", {"pause": a_wait(wait={"for": 600_000})}, finally_={"audit": a_step()})
    run = engine.start("flow")

    engine.call("cancel_run", run)

    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 0
    engine.work("flow")
    assert engine.status(run) == "cancelled"


@pytest.mark.parametrize("policy", ["fail", "skip", "skip-cascade"])
@pytest.mark.parametrize("edge", ["success", "failure"])
@pytest.mark.parametrize("early", [False, True])
def test_a_rejected_wait_leaves_the_clock_empty(
    engine: Engine, policy: str, edge: str, *, early: bool
) -> None:
    """Its timeout is not due any more, whatever becomes of its step and its run."""
    engine.deploy(
        "flow",
        {
            "a": a_step(),
            "ok": a_wait("a", wait={"event": "x", "timeout": 5000}, when_exhausted=policy),
            "b": a_step(depends_on={"ok": edge}),
        },
    )
    run = engine.start("flow")

    if early:
        engine.call("reject_step", run, "ok")
    engine.report(*(done(task) for task in engine.claim("flow")))
    if not early:
        engine.call("reject_step", run, "ok")
    engine.work("flow")

    assert engine.statuses(run)["ok"] == ("failed" if policy == "fail" else "skipped")
    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 0


def test_the_sweep_ends_a_wait_whose_message_was_lost(engine: Engine) -> None:
    """R-3: what should be impossible is put right."""
    engine.deploy("flow", {"pause": a_wait(wait={"for": 1000})})
    engine.now(NOON)
    run = engine.start("flow")
    engine.db.execute("delete from pgmq.q_pgflow__timers")

    repaired = engine.call("sweep")
    engine.now("2036-01-01 12:00:02Z")
    engine.claim("flow")

    assert repaired == 1
    assert engine.status(run) == "completed"


def test_a_bad_message_of_the_clock_hinders_nobody(engine: Engine) -> None:
    """It rests; the others are settled in the same turn."""
    engine.deploy("flow", {"pause": a_wait(wait={"for": 1000})})
    engine.now(NOON)
    run = engine.start("flow")
    engine.db.execute(
        "insert into pgmq.q_pgflow__timers (vt, message) values ('2036-01-01', %s)",
        [json.dumps({"kind": "wait", "run_id": "no id"})],
    )

    engine.now("2036-01-01 12:00:02Z")
    engine.claim("flow")

    assert engine.status(run) == "completed"
    engine.db.execute("delete from pgmq.q_pgflow__timers")
