"""Child runs end before their parents, with their clean-up, whatever ends the parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.driver import a_child, a_step, a_wait, done, failed, literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.driver import Engine

NOON = "2036-01-01 12:00:00Z"
LATER = "2036-01-01 12:01:00Z"
AUDIT = {"audit": a_step(), "tell": a_step("audit")}
LIVE = "select count(*) from pgflow.runs where status = 'started'"
CHILDREN = "select array_agg(status order by started_at) from pgflow.runs where depth = 1"


def cancel(engine: Engine, run: str, _task: dict[str, Any]) -> None:
    """Cancel the parent."""
    engine.call("cancel_run", run)


def break_it(engine: Engine, _run: str, task: dict[str, Any]) -> None:
    """Let another step of the parent fail."""
    engine.report(failed(task, "fatal"))


def let_time_pass(engine: Engine, _run: str, _task: dict[str, Any]) -> None:
    """Let the time of the parent pass."""
    engine.now(LATER)


@pytest.mark.parametrize("happens", [cancel, break_it, let_time_pass])
@pytest.mark.parametrize("finals", [{}, {"audit": a_step()}], ids=["bare", "finally"])
def test_a_parent_ends_after_the_clean_up_of_all_below_it(
    engine: Engine,
    happens: Callable[[Engine, str, dict[str, Any]], None],
    finals: dict[str, Any],
) -> None:
    """Three deep: from the bottom up, each with its finally before the next."""
    engine.now(NOON)
    engine.deploy("leaf", {"nap": a_wait(wait={"event": "never"})}, finally_=AUDIT)
    engine.deploy("middle", {"sub": a_child("leaf")}, finally_=finals)
    engine.deploy("top", {"a": a_step(), "sub": a_child("middle")}, finally_=finals, timeout=30_000)
    run = engine.start("top")
    (a,) = engine.claim("top")
    engine.claim("none")

    happens(engine, run, a)
    for _ in range(4):
        engine.claim("none")
    (audit,) = engine.claim("leaf")
    during = engine.one(LIVE), engine.snapshot(run)["run"]["outcome"]
    engine.report(done(audit), failed(a))
    ran = engine.work_on("top", "middle", "leaf")

    assert during == (3, "cancelled" if happens is cancel else "failed")
    last = ["middle.audit", "top.audit"] if finals else []
    assert ran == ["leaf.tell", *last]
    assert engine.one(LIVE) == 0
    assert engine.snapshot(run)["run"]["status"] == during[1]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, "failed"),
        ({"catch": a_step() | {"depends_on": {"sub": "failure"}}}, "completed"),
    ],
    ids=["unhandled", "caught"],
)
def test_a_failed_item_waits_for_the_children_of_the_others(
    engine: Engine, more: dict[str, Any], status: str
) -> None:
    """The step fails at once; its run ends when the other children have cleaned up."""
    engine.deploy("child", {"a": a_step()}, finally_={"z": a_step()})
    engine.deploy(
        "parent",
        {"sub": a_child("child", map=literal([1, 2, 3]), with_=literal({}))} | more,
    )
    run = engine.start("parent")
    engine.claim("none")
    first, second, third = engine.claim("child")

    engine.report(failed(first, "fatal"))
    assert engine.work("child") == ["z"]
    assert engine.work_on("parent") == [f"parent.{step}" for step in more]
    before = engine.statuses(run)["sub"], engine.status(run), sorted(engine.one(CHILDREN))
    told = engine.heartbeat(second, third)["stop"]
    engine.report(failed(second), failed(third))
    ran = engine.work_on("child")

    assert before == ("failed", "started", ["failed", "started", "started"])
    assert len(told) == 2
    assert ran == ["child.z", "child.z"]
    assert engine.status(run) == status
    assert sorted(engine.one(CHILDREN)) == ["cancelled", "cancelled", "failed"]


def test_the_next_attempt_begins_when_the_former_child_has_stopped(engine: Engine) -> None:
    """After a timeout of the step: one child at a time, and `Timeout` is the error."""
    engine.now(NOON)
    engine.deploy("child", {"nap": a_wait(wait={"event": "never"})}, finally_={"z": a_step()})
    retry = {"max_attempts": 2, "base_delay": 0}
    engine.deploy("parent", {"sub": a_child("child", timeout=5000, retry=retry)})
    run = engine.start("parent")
    engine.claim("none")

    engine.now("2036-01-01 12:00:05Z")
    for _ in range(3):
        engine.claim("none")
    (z,) = engine.claim("child")
    alone = engine.one(CHILDREN)
    engine.now("2036-01-01 12:00:08Z")
    engine.report(done(z))
    engine.work_on("none")
    second = engine.one(CHILDREN)
    engine.now("2036-01-01 12:00:13Z")

    assert alone == ["started"]
    assert second == ["cancelled", "started"]
    assert engine.work_on("child") == ["child.z"]
    assert engine.result(run) == ("failed", None, "Timeout")
    errors = [(error["type"], error["attempt"]) for error in engine.snapshot(run)["errors"]]
    assert errors == [("Timeout", 1), ("Timeout", 2)]


def test_a_child_that_ends_in_time_is_no_timeout(engine: Engine) -> None:
    """The parent hears of it later than the time would have passed."""
    engine.now(NOON)
    engine.deploy("child", {"work": a_step()})
    engine.deploy("parent", {"sub": a_child("child", timeout=5000)})
    run = engine.start("parent")
    engine.claim("none")

    engine.now("2036-01-01 12:00:04Z")
    (task,) = engine.claim("child")
    engine.report(done(task, 1))
    engine.now(LATER)
    engine.work_on("none")

    assert engine.result(run) == ("completed", {"sub": {"work": 1}}, None)


def test_a_run_completes_after_the_child_of_a_skipped_step(engine: Engine) -> None:
    """An item that was given up leaves children behind: neither end nor finally comes before."""
    engine.deploy("child", {"a": a_step()}, finally_={"z": a_step()})
    keys = {"map": literal([1, 2]), "with_": literal({}), "when_exhausted": "skip"}
    engine.deploy("parent", {"sub": a_child("child", **keys)}, finally_={"audit": a_step()})
    run = engine.start("parent")
    engine.claim("none")
    first, second = engine.claim("child")

    engine.report(failed(first, "fatal"))
    assert engine.work_on("child", "parent") == ["child.z"]
    shown = engine.snapshot(run)["run"]
    engine.report(failed(second))

    assert (shown["status"], shown["outcome"]) == ("started", "completed")
    assert engine.work_on("child", "parent") == ["child.z", "parent.audit"]
    assert engine.result(run) == ("completed", {}, None)


def test_a_second_cancel_ends_a_tree_that_nobody_works_on(engine: Engine) -> None:
    """No worker serves the children's queue: at once, and nothing of it is left."""
    engine.deploy("leaf", {"work": a_step()}, finally_=AUDIT)
    engine.deploy("middle", {"sub": a_child("leaf")})
    engine.deploy("top", {"a": a_step(), "sub": a_child("middle")})
    run = engine.start("top")
    (a,) = engine.claim("top")
    engine.claim("none")
    engine.report(failed(a, "fatal"))
    engine.work_on("top", "middle")
    engine.call("cancel_run", run)
    engine.work_on("top", "middle")
    between = engine.one(LIVE)

    reply = engine.call("cancel_run", run)

    assert between == 3
    assert reply["status"] == "failed"
    assert engine.one("select array_agg(status order by depth) from pgflow.runs") == [
        "failed",
        "cancelled",
        "cancelled",
    ]
    engine.work_on("none")
    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 0


def test_a_run_failed_by_its_worker_waits_for_its_children(engine: Engine) -> None:
    """The last resort of a worker, while finally runs: the child's clean-up still does."""
    engine.deploy("child", {"nap": a_wait(wait={"event": "never"})}, finally_={"z": a_step()})
    engine.deploy("flow", {"a": a_step()}, finally_={"b": a_step(), "sub": a_child("child")})
    run = engine.start("flow")
    assert engine.work("flow") == ["a", "b"]
    engine.claim("none")

    assert engine.call("fail_run", run, '{"type": "Refused", "message": "too large"}')
    before = engine.snapshot(run)["run"]
    ran = engine.work_on("child")

    assert (before["status"], before["outcome"]) == ("started", "failed")
    assert ran == ["child.z"]
    assert engine.result(run) == ("failed", None, "Refused")


def test_a_run_ends_when_the_child_that_it_waits_for_is_deleted(engine: Engine) -> None:
    """A child that is gone has ended."""
    slug = engine.deploy("child", {"a": a_step()}, finally_={"z": a_step()})["flow_slug"]
    engine.deploy("parent", {"a": a_step(), "sub": a_child("child")})
    run = engine.start("parent")
    (a,) = engine.claim("parent")
    engine.report(failed(a, "fatal"))
    engine.work_on("none")
    before = engine.status(run)

    engine.db.execute("select pgflow.delete_flow_and_data(%s)", [slug])
    engine.work_on("none")

    assert (before, engine.status(run)) == ("started", "failed")
