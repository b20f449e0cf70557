"""Cancels: the first one leaves the clean-up, the second does not, a repeated one is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.engine.driver import a_child, a_step, a_wait, done, failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.driver import Engine

NOON = "2036-01-01 12:00:00Z"
LATER = "2036-01-01 12:01:00Z"
AUDIT = {"audit": a_step(), "tell": a_step("audit")}


# A first cancel


def complete(engine: Engine, task: dict[str, Any]) -> None:
    """Let the work of the run complete."""
    engine.report(done(task, 7))


def fail(engine: Engine, task: dict[str, Any]) -> None:
    """Let the run fail by itself."""
    engine.report(failed(task, "fatal"))


def time_out(engine: Engine, task: dict[str, Any]) -> None:
    """Let the time of the run pass."""
    engine.now(LATER)
    engine.claim("none")
    engine.report(failed(task))


def reach_clean_up(
    engine: Engine, happens: Callable[[Engine, dict[str, Any]], None]
) -> tuple[str, dict[str, Any]]:
    """Start a run and let its work end so; returns the run, and the first task of `finally`."""
    engine.now(NOON)
    engine.deploy("flow", {"a": a_step()}, finally_=AUDIT, timeout=30_000)
    run = engine.start("flow")
    happens(engine, engine.claim("flow")[0])
    (audit,) = engine.claim("flow")
    return run, audit


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        (complete, ("completed", {"a": 7}, None)),
        (fail, ("failed", None, "Broken")),
        (time_out, ("failed", None, "RunTimeout")),
    ],
)
def test_a_first_cancel_lets_the_clean_up_finish(
    engine: Engine,
    happens: Callable[[Engine, dict[str, Any]], None],
    expected: tuple[str, Any, str | None],
) -> None:
    """Nobody is told to stop, and the run ends as it would have."""
    run, audit = reach_clean_up(engine, happens)

    reply = engine.call("cancel_run", run)
    told = engine.heartbeat(audit)["stop"]
    engine.report(done(audit))

    assert (reply["status"], reply["outcome"], reply["cancelled"]) == ("started", expected[0], True)
    assert told == []
    assert engine.work("flow") == ["tell"]
    assert engine.result(run) == expected


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        (complete, ("cancelled", None, "Cancelled")),
        (fail, ("failed", None, "Broken")),
        (time_out, ("failed", None, "RunTimeout")),
    ],
)
def test_a_second_cancel_ends_the_clean_up(
    engine: Engine,
    happens: Callable[[Engine, dict[str, Any]], None],
    expected: tuple[str, Any, str | None],
) -> None:
    """It is ended at once, and a failure stays the reason."""
    run, audit = reach_clean_up(engine, happens)

    engine.call("cancel_run", run)
    reply = engine.call("cancel_run", run)

    assert reply["status"] == reply["outcome"] == expected[0]
    assert engine.heartbeat(audit)["stop"] != []
    assert engine.result(run) == expected
    assert engine.call("cancel_run", run)["cancelled"] is False


def test_a_timeout_that_passes_during_finally_changes_nothing(engine: Engine) -> None:
    """The time of a run is for its work."""
    run, audit = reach_clean_up(engine, complete)

    engine.now("2036-01-01 12:00:31Z")
    engine.claim("none")
    engine.report(done(audit))

    assert engine.work("flow") == ["tell"]
    assert engine.result(run) == ("completed", {"a": 7}, None)


def test_cancelling_a_parent_leaves_the_clean_up_of_its_child(engine: Engine) -> None:
    """A child that has only its finally left keeps it, with the runs that this has started."""
    engine.deploy("undo", {"work": a_step()})
    engine.deploy("child", {"a": a_step()}, finally_={"undo": a_child("undo")})
    engine.deploy("parent", {"sub": a_child("child"), "more": a_step("sub")})
    run = engine.start("parent")
    engine.claim("none")
    assert engine.work("child") == ["a"]
    engine.claim("none")

    reply = engine.call("cancel_run", run)
    ran = engine.work_on("child", "undo")

    assert (reply["status"], reply["outcome"]) == ("started", "cancelled")
    assert ran == ["undo.work"]
    assert engine.one("select array_agg(status order by depth) from pgflow.runs") == [
        "cancelled",
        "completed",
        "completed",
    ]


def test_a_cancel_counts_for_the_run_that_it_names(engine: Engine) -> None:
    """The first cancel of a child is its first, whatever its parent was told before."""
    engine.deploy("child", {"a": a_step()}, finally_=AUDIT)
    engine.deploy("parent", {"sub": a_child("child")}, finally_={"audit": a_step()})
    run = engine.start("parent")
    engine.claim("none")
    child = engine.one("select run_id::text from pgflow.runs where depth = 1")

    for each in (run, child):
        engine.call("cancel_run", each)

    assert engine.work_on("child", "parent") == ["child.audit", "child.tell", "parent.audit"]
    assert engine.one("select array_agg(distinct status) from pgflow.runs") == ["cancelled"]


# A request that is repeated, since its reply was lost


def test_a_repeated_request_to_cancel_counts_once(engine: Engine) -> None:
    """It gets the first answer, also when the run has ended; another request is the second."""
    engine.deploy("flow", {"a": a_step()}, finally_=AUDIT)
    run, other, mine = engine.start("flow"), engine.start("flow"), str(uuid4())

    first, again = (engine.call("cancel_run", run, None, mine) for _ in range(2))
    engine.call("cancel_run", other, None, mine)
    assert engine.work("flow") == ["audit", "audit", "tell", "tell"]
    late = engine.call("cancel_run", run, None, mine)

    assert first == again
    assert first["status"] == "started"
    assert late == first | {"status": "cancelled"}
    assert engine.call("cancel_run", run)["cancelled"] is False
    assert engine.one("select count(*) from pgflow.audit where action = 'cancel'") == 2


@pytest.mark.parametrize("waits", [True, False])
def test_a_repeated_event_is_the_one_that_stands(engine: Engine, *, waits: bool) -> None:
    """What it completed is said again, in a run that has ended too; of another it stands before."""
    engine.deploy("flow", {"a": a_step(), "nap": a_wait("a", wait={"event": "go"})})
    run, mine = engine.start("flow"), str(uuid4())
    if waits:
        engine.work("flow")

    first, again = (engine.call("send_event", run, "go", "1", "ann", mine) for _ in range(2))
    engine.work("flow")
    late = engine.call("send_event", run, "go", "1", "ann", mine)
    others = [engine.call("send_event", run, "go", "1", "ann", other) for other in (None, run)]

    assert first == again == late
    expected = (["nap"], False, False) if waits else ([], True, False)
    assert (first["steps"], first["stored"], first["already"]) == expected
    assert [(other["steps"], other["already"]) for other in others] == [([], True)] * 2
    assert engine.status(run) == "completed"


@pytest.mark.parametrize("decide", ["approve_step", "reject_step"])
def test_a_repeated_decision_is_the_one_that_stands(engine: Engine, decide: str) -> None:
    """It was applied; another request of the same person was not."""
    engine.deploy("flow", {"ok": a_wait(wait={"event": "approval"})})
    run, mine = engine.start("flow"), str(uuid4())

    first, again = (engine.call(decide, run, "ok", None, "ann", mine) for _ in range(2))
    others = [engine.call(decide, run, "ok", None, "ann", request) for request in (None, run)]

    assert first == again
    assert first["applied"] is True
    assert [other["applied"] for other in others] == [False, False]
