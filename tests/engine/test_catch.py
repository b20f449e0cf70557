"""Failures that somebody handles, and those that stop a run: edges, fail_fast, finally."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engine.driver import a_step, done, failed, path

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def test_a_failure_edge_catches_and_the_run_completes(engine: Engine) -> None:
    """A failure is handled when a dependent that asks for it completes."""
    steps = {
        "charge": a_step(),
        "ship": a_step("charge"),
        "refund": a_step() | {"depends_on": {"charge": "failure"}},
    }
    engine.deploy("flow", steps)
    run = engine.start("flow")

    ran = engine.work("flow", broken={"charge"})

    assert ran == ["charge", "refund"]
    assert engine.statuses(run) == {"charge": "failed", "ship": "skipped", "refund": "completed"}
    shown = engine.snapshot(run)["run"]
    assert (shown["status"], shown["error"], shown["output"]) == (
        "completed",
        None,
        {"refund": "refund"},
    )


def test_a_catch_that_is_not_needed_is_skipped(engine: Engine) -> None:
    """`failure` wants a failed step; a completed one cuts it off, upstream."""
    engine.deploy(
        "flow", {"charge": a_step(), "refund": a_step() | {"depends_on": {"charge": "failure"}}}
    )
    run = engine.start("flow")

    engine.work("flow")

    refund = engine.snapshot(run)["steps"][1]
    assert (refund["status"], refund["skip_reason"]) == ("skipped", "dependency_skipped")
    assert engine.status(run) == "completed"


def test_nothing_is_stopped_while_a_catch_is_possible(engine: Engine) -> None:
    """fail_fast waits for the catch; once it is lost, what was live is cancelled."""
    steps = {
        "a": a_step(),
        "slow": a_step(),
        "catch": a_step() | {"depends_on": {"a": "failure"}},
    }
    engine.deploy("flow", steps)
    run = engine.start("flow")
    a, slow = engine.claim("flow")

    (catch,) = engine.turn(failed(a, "fatal"), queue="flow")["tasks"]
    during = engine.status(run)
    engine.report(failed(catch, "fatal"))

    assert during == "started"
    assert engine.statuses(run) == {"a": "failed", "slow": "cancelled", "catch": "failed"}
    assert engine.report(done(slow)) == ["run_terminal"]


def test_an_any_edge_takes_whatever_came(engine: Engine) -> None:
    """A join with `any` runs after a completed, a failed and a skipped dependency."""
    steps = {
        "good": a_step(),
        "bad": a_step(),
        "behind": a_step("bad"),
        "join": a_step() | {"depends_on": {"good": "any", "bad": "any", "behind": "any"}},
    }
    engine.deploy("flow", steps)
    run = engine.start("flow")

    engine.work("flow", broken={"bad"})

    assert engine.statuses(run) == {
        "good": "completed",
        "bad": "failed",
        "behind": "skipped",
        "join": "completed",
    }
    assert engine.status(run) == "completed"


def test_finally_sees_how_the_run_came_out(engine: Engine) -> None:
    """run.status, failed, unhandled and skipped are known there."""
    seen = {
        "ast": ["list"]
        + [["path", f"run.{name}"] for name in ("status", "failed", "unhandled", "skipped")],
        "paths": ["run.failed", "run.skipped", "run.status", "run.unhandled"],
    }
    engine.deploy(
        "flow",
        {"a": a_step(), "b": a_step("a"), "c": a_step(if_={"ast": ["lit", False], "paths": []})},
        finally_={"audit": a_step(with_=seen)},
        fail_fast=False,
    )
    run = engine.start("flow")
    (a,) = engine.claim("flow")

    reply = engine.turn(failed(a, "fatal"), queue="flow")

    context = reply["contexts"][f"{run}/audit"]
    assert context["env"] == {
        "run.status": "failed",
        "run.failed": ["a"],
        "run.unhandled": ["a"],
        "run.skipped": ["b", "c"],
    }
    engine.report(done(reply["tasks"][0]))
    assert engine.status(run) == "failed"


def test_finally_waits_until_what_was_stopped_has_stopped(engine: Engine) -> None:
    """A started task is told to stop; finally begins when its worker says it has."""
    engine.deploy(
        "flow", {"a": a_step(), "b": a_step(), "c": a_step("b")}, finally_={"audit": a_step()}
    )
    run = engine.start("flow")
    a, b = engine.claim("flow")

    early = engine.turn(failed(a, "fatal"), queue="flow")["tasks"]
    told = engine.heartbeat(b)
    late = engine.turn(failed(b), queue="flow")

    assert early == []
    assert [task["step"] for task in told["stop"]] == ["b"]
    assert late["verdicts"] == ["applied"]
    assert [task["step"] for task in late["tasks"]] == ["audit"]
    assert engine.statuses(run) == {
        "a": "failed",
        "b": "cancelled",
        "c": "cancelled",
        "audit": "started",
    }
    engine.report(done(late["tasks"][0]))
    assert engine.status(run) == "failed"


def test_finally_begins_when_a_dead_workers_lease_ends(engine: Engine, other: Engine) -> None:
    """Nobody says that the task has stopped: the end of its lease does."""
    for each in (engine, other):
        each.now("2036-01-01 12:00:00Z")
    engine.deploy("flow", {"a": a_step(), "b": a_step()}, finally_={"audit": a_step()})
    run = engine.start("flow")
    a, _ = engine.claim("flow")
    engine.report(failed(a, "fatal"))

    for each in (engine, other):
        each.now("2036-01-01 12:00:31Z")
    tasks = other.claim("flow") + other.claim("flow")

    assert [task["step"] for task in tasks] == ["audit"]
    other.report(done(tasks[0]))
    assert engine.statuses(run)["b"] == "cancelled"


def test_a_cancel_runs_finally_and_a_second_cancels_it(engine: Engine) -> None:
    """The status is started until finally has ended."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")}, finally_={"audit": a_step()})
    first, second = engine.start("flow"), engine.start("flow")

    replies = [engine.call("cancel_run", run) for run in (first, second)]
    again = engine.call("cancel_run", second)
    ran = engine.work("flow")

    assert [reply["status"] for reply in replies] == ["started", "started"]
    assert again["status"] == "cancelled"
    assert ran == ["audit"]
    assert (engine.status(first), engine.status(second)) == ("cancelled", "cancelled")
    assert engine.statuses(first) == {"a": "cancelled", "b": "cancelled", "audit": "completed"}
    assert engine.statuses(second) == {"a": "cancelled", "b": "cancelled", "audit": "cancelled"}


def test_a_condition_that_fails_can_be_caught(engine: Engine) -> None:
    """when_unmet: fail is a failure like any other."""
    steps = {
        "a": a_step(if_=path("input.go"), when_unmet="fail"),
        "catch": a_step() | {"depends_on": {"a": "failure"}},
    }
    engine.deploy("flow", steps, input={"go": {}})
    run = engine.start("flow", {"go": False})

    engine.work("flow")

    assert engine.statuses(run) == {"a": "failed", "catch": "completed"}
    assert engine.status(run) == "completed"
