"""delete_flow_and_data of flows that were deployed: what they leave in queues and other runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engine.driver import a_child, a_step, a_wait

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def _delete(engine: Engine, deployed: dict[str, str]) -> None:
    engine.call("delete_flow_and_data", deployed["flow_slug"])


def test_a_deleted_flow_leaves_nothing_behind(engine: Engine) -> None:
    """Timers, deadlines, tasks of children, events: all go; child runs are cancelled."""
    engine.deploy("child", {"a": a_step(queue="gpu")})
    steps = {
        "sub": a_child("child"),
        "nap": a_wait(wait={"for": 600_000}),
        "wide": a_step(initial_tasks=20_000),
        "far": a_step(queue="gpu"),
    }
    parent = engine.deploy("parent", steps, timeout=600_000)
    run = engine.start("parent")
    engine.claim("nobody")
    engine.call("send_event", run, "early")

    _delete(engine, parent)
    engine.claim("nobody")

    assert engine.one("select array_agg(status) from pgflow.runs") == ["cancelled"]
    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 1  # news for a parent
    engine.claim("nobody")
    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 0
    assert engine.one("select count(*) from pgflow.events") == 0


def test_a_deleted_version_takes_no_message_of_another(engine: Engine) -> None:
    """Each queue numbers its own messages: those of one are nobody's in another."""
    first = engine.deploy("flow", {"far": a_step(queue="gpu")})
    engine.start("flow")
    engine.deploy("flow", {"near": a_step()})
    engine.start("flow")

    _delete(engine, first)

    assert [task["step"] for task in engine.claim("flow")] == ["near"]


def test_a_step_whose_child_is_deleted_fails(engine: Engine) -> None:
    """It would wait for ever."""
    child = engine.deploy("child", {"a": a_step()})
    engine.deploy("parent", {"sub": a_child("child")})
    run = engine.start("parent")
    engine.claim("nobody")

    _delete(engine, child)
    engine.claim("nobody")

    error = engine.snapshot(run)["run"]["error"]
    assert (error["type"], error["message"].endswith("the run was deleted")) == (
        "ChildFailed",
        True,
    )


def test_a_child_that_had_ended_before_it_was_deleted_fails_the_step(engine: Engine) -> None:
    """Its end was on its way; the output is gone."""
    child = engine.deploy("child", {"nap": a_wait(wait={"event": "go"})})
    engine.deploy("parent", {"sub": a_child("child")})
    run = engine.start("parent")
    engine.claim("nobody")
    engine.call(
        "send_event", engine.one("select run_id::text from pgflow.runs where depth = 1"), "go"
    )

    _delete(engine, child)
    engine.claim("nobody")

    assert engine.status(run) == "failed"
