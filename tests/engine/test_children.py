"""Steps that run a flow: child runs, their outputs and failures, cancelling the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.driver import a_child, a_step, a_wait, failed, path

if TYPE_CHECKING:
    from tests.engine.driver import Engine

NOON = "2036-01-01 12:00:00Z"


def work(engine: Engine, *queues: str, broken: tuple[str, ...] = ()) -> list[str]:
    """Work on these queues until nothing happens any more; the steps that ran, in order."""
    ran, idle = list[str](), 0
    while idle < 3:  # a child's end is news for its parent at a later turn
        for queue in queues:
            found = engine.work(queue, broken=broken)
            idle = 0 if found else idle + 1
            ran += found
    return ran


def test_the_childs_output_is_the_steps(engine: Engine) -> None:
    """Both runs know each other; the child gets what a handler would."""
    engine.deploy("child", {"work": a_step()}, input={"a": {}})
    engine.deploy("parent", {"a": a_step(), "sub": a_child("child", "a"), "z": a_step("sub")})
    run = engine.start("parent")

    ran = work(engine, "parent", "child")

    assert ran == ["a", "work", "z"]
    step = engine.snapshot(run)["steps"][1]
    (child,) = step["children"]
    assert (step["status"], step["output"], step["action"]) == (
        "completed",
        {"work": "work"},
        "flow",
    )
    shown = engine.snapshot(child)["run"]
    assert shown["input"] == {"a": "a"}
    assert shown["parent"] == {"id": run, "step": "sub", "index": 0}


def test_a_running_child_is_waited_for_without_a_worker(engine: Engine) -> None:
    """The step shows as waiting; its message is out of everybody's way."""
    engine.deploy("child", {"work": a_step()})
    engine.deploy("parent", {"sub": a_child("child")})
    run = engine.start("parent")
    engine.claim("nobody")

    (step,) = engine.snapshot(run)["steps"]

    assert (step["status"], step["waits"]["kind"]) == ("waiting", "child")
    assert work(engine, "child")
    assert engine.status(run) == "completed"


def test_a_map_runs_a_child_for_each_item(engine: Engine) -> None:
    """`with` is evaluated for each item; the outputs come in the order of the items."""
    engine.deploy("child", {"work": a_step()}, input={"n": {}}, output=path("input.n"))
    given = {"ast": ["dict", "n", ["path", "item"]], "paths": ["item"]}
    engine.deploy(
        "parent",
        {"sub": a_child("child", map=path("input.ns"), with_=given, max_parallel=2)},
        input={"ns": {}},
    )
    run = engine.start("parent", {"ns": list(range(70))})

    engine.claim("nobody")
    at_once = engine.one("select count(*) from pgflow.runs where parent_run_id is not null")
    work(engine, "child")

    assert at_once == 2
    assert engine.snapshot(run)["run"]["output"] == {"sub": list(range(70))}


def test_a_childs_failure_is_an_attempt_of_the_step(engine: Engine) -> None:
    """ChildFailed names flow and run; another attempt is another child."""
    engine.deploy("child", {"work": a_step()})
    engine.deploy("parent", {"sub": a_child("child", retry={"max_attempts": 2, "base_delay": 0})})
    run = engine.start("parent")

    work(engine, "child", broken=("work",))

    step = engine.snapshot(run)["steps"][0]
    assert (step["status"], len(step["children"]), step["attempts"]) == ("failed", 2, 2)
    error = engine.snapshot(run)["run"]["error"]
    last = engine.one(
        "select run_id from pgflow.runs where depth = 1 order by started_at desc limit 1"
    )
    assert error["type"] == "ChildFailed"
    assert error["message"] == f"child {last} [0]: attempt 1 broke"


@pytest.mark.parametrize(
    ("flow", "sentence"),
    [
        ("nowhere", "there is no flow"),
        ("strict", "is required"),
        ("strict@ffffffffffff", "no version"),
    ],
)
def test_a_child_that_cannot_start_fails_the_step(engine: Engine, flow: str, sentence: str) -> None:
    """The sentence says why; the turn goes on."""
    engine.deploy("strict", {"work": a_step()}, input={"must": {}})
    engine.deploy("parent", {"sub": a_child(flow)})
    run = engine.start("parent")

    engine.claim("nobody")

    error = engine.snapshot(run)["run"]["error"]
    assert error["type"] == "ChildFailed"
    assert sentence in error["message"]


def test_a_child_keeps_to_the_version_it_names(engine: Engine) -> None:
    """`child@version` is that one, whatever is active."""
    first = engine.deploy("child", {"old": a_step()})["version"]
    engine.deploy("child", {"new": a_step()})
    engine.deploy("parent", {"pinned": a_child(f"child@{first}"), "free": a_child("child")})
    engine.start("parent")

    ran = work(engine, "child")

    assert sorted(ran) == ["new", "old"]


def test_flows_that_run_themselves_end(engine: Engine) -> None:
    """Sixteen deep, then ChildFailed all the way up."""
    engine.deploy("loop", {"again": a_child("loop")})
    run = engine.start("loop")

    for _ in range(40):
        engine.claim("nobody")

    assert engine.status(run) == "failed"
    assert engine.one("select max(depth) from pgflow.runs") == 16
    assert engine.one("select count(*) from pgflow.runs where status = 'started'") == 0


def test_cancelling_a_run_cancels_its_children(engine: Engine) -> None:
    """The whole tree, in one commit."""
    engine.deploy("leaf", {"work": a_step()})
    engine.deploy("middle", {"sub": a_child("leaf")})
    engine.deploy("top", {"sub": a_child("middle")})
    run = engine.start("top")
    engine.claim("nobody")
    engine.claim("nobody")

    engine.call("cancel_run", run)

    assert engine.one("select array_agg(distinct status) from pgflow.runs") == ["cancelled"]
    engine.claim("nobody")
    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 0


def test_a_second_cancel_ends_the_finally_of_children_too(engine: Engine) -> None:
    """Whoever cancels twice wants an end: nothing of the tree lives on."""
    engine.deploy("child", {"a": a_step()}, finally_={"never": a_wait(wait={"event": "never"})})
    engine.deploy("parent", {"sub": a_child("child")}, finally_={"audit": a_step()})
    run = engine.start("parent")
    engine.claim("nobody")

    engine.call("cancel_run", run)
    first = engine.one("select array_agg(distinct status) from pgflow.runs")
    engine.call("cancel_run", run)

    assert first == ["started"]
    assert engine.one("select array_agg(distinct status) from pgflow.runs") == ["cancelled"]
    engine.claim("nobody")
    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 0


def test_a_parent_that_fails_cancels_its_children(engine: Engine) -> None:
    """They are told by the clock, at the next turn."""
    engine.deploy("child", {"work": a_step()})
    engine.deploy("parent", {"a": a_step(), "sub": a_child("child")})
    run = engine.start("parent")
    (a,) = engine.claim("parent")

    engine.report(failed(a, "fatal"))
    engine.claim("nobody")
    engine.claim("nobody")  # the child's own end is news for a parent that has gone

    assert engine.status(run) == "failed"
    assert engine.one("select status from pgflow.runs where depth = 1") == "cancelled"
    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 0


def test_finally_waits_for_the_child_to_stop(engine: Engine) -> None:
    """A cancelled parent with `finally` ends its child first."""
    engine.deploy("child", {"pause": a_wait(wait={"event": "x"})})
    engine.deploy("parent", {"sub": a_child("child")}, finally_={"audit": a_step()})
    run = engine.start("parent")
    engine.claim("nobody")

    engine.call("cancel_run", run)
    ran = work(engine, "parent")

    assert ran == ["audit"]
    assert engine.one("select status from pgflow.runs where depth = 1") == "cancelled"
    assert engine.statuses(run) == {"sub": "cancelled", "audit": "completed"}


def test_a_child_past_the_steps_timeout_is_cancelled(engine: Engine) -> None:
    """Timeout, and the child does not live on."""
    engine.deploy("child", {"pause": a_wait(wait={"event": "x"})})
    engine.deploy("parent", {"sub": a_child("child", timeout=5000)})
    engine.now(NOON)
    run = engine.start("parent")
    engine.claim("nobody")

    engine.now("2036-01-01 12:00:05Z")
    assert work(engine, "nobody") == []

    assert engine.snapshot(run)["run"]["error"]["type"] == "Timeout"
    assert engine.one("select status from pgflow.runs where depth = 1") == "cancelled"


def test_a_worker_can_ask_which_queues_a_flow_needs(engine: Engine) -> None:
    """Its own, its steps' and its children's."""
    engine.deploy("child", {"work": a_step(), "heavy": a_step(queue="gpu")})
    engine.deploy("parent", {"sub": a_child("child"), "own": a_step()})

    assert engine.call("queues_of", "parent") == ["child", "gpu", "parent"]
    assert sorted(engine.call("served_queues")) == ["child", "gpu", "parent"]


def test_a_worker_can_ask_which_queues_a_run_needs(engine: Engine) -> None:
    """Those of its own version and of its live child runs, although other versions are active."""
    engine.deploy("child", {"work": a_step(queue="old")})
    engine.deploy("parent", {"sub": a_child("child"), "own": a_step(queue="early")})
    run = engine.start("parent")
    engine.claim("nobody")
    engine.deploy("child", {"work": a_step(queue="new")})
    engine.deploy("parent", {"own": a_step(queue="late")})

    assert engine.call("run_queues", run) == ["early", "new", "old"]


def test_clients_of_pgflow_are_given_no_child_tasks(engine: Engine) -> None:
    """start_tasks hands out nothing of the clock's queue, whoever asks for it by name."""
    engine.deploy("child", {"work": a_step()})
    slug = engine.deploy("parent", {"sub": a_child("child")})["flow_slug"]
    engine.start("parent")

    given = engine.one(
        "select count(*) from pgflow.start_tasks("
        "  %s, array(select message_id from pgflow.step_tasks), %s, 'pgflow__timers')",
        slug,
        engine.worker,
    )

    assert given == 0


def test_a_child_task_never_stalls(engine: Engine) -> None:
    """A child may take a year: neither pgflow's requeue nor the sweep touches its parent's task."""
    engine.deploy("child", {"nap": a_wait(wait={"event": "go"})})
    engine.deploy("parent", {"sub": a_child("child")})
    engine.now(NOON)
    engine.start("parent")
    engine.claim("nobody")
    engine.now("2037-01-01 12:00:00Z")

    repairs = (engine.call("requeue_stalled_tasks"), engine.call("sweep"))
    engine.claim("nobody")

    assert repairs == (0, 0)
    assert engine.one(
        "select array_agg((status, attempts_count)::text) from pgflow.step_tasks"
    ) == ["(started,1)"]
