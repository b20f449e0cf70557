"""Retries that concern more than their run: child runs, other versions, workers of before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.engine.driver import a_child, a_step, done, failed, path
from tests.engine.pruner import prune
from tests.engine.test_races import into, past
from tests.engine.test_retry import again, refusal

if TYPE_CHECKING:
    from tests.engine.driver import Engine

HOLD = "select from pgflow.runs where run_id = %s for update"
LIVE = "select count(*) from pgflow.runs where depth = 1 and status = 'started'"
CHILDREN = "select run_id::text from pgflow.runs where parent_run_id = %s order by parent_index"


def work(engine: Engine, *queues: str, broken: tuple[str, ...] = ()) -> list[str]:
    """Work on these queues until nothing happens any more; the steps that ran."""
    ran, idle = list[str](), 0
    while idle < 4:
        idle += 1
        for queue in queues:
            found = engine.work(queue, broken=broken)
            idle = 0 if found else idle
            ran += found
    return ran


def children(engine: Engine, run: str) -> list[str]:
    """The child runs of a run."""
    return [row[0] for row in engine.db.execute(CHILDREN.encode(), [run]).fetchall()]


def test_a_failed_child_is_retried_through_its_parent(engine: Engine) -> None:
    """Its failed step alone; a child of its own says which run to retry."""
    engine.deploy("leaf", {"x": a_step(), "y": a_step("x")}, input={"a": {}})
    engine.deploy("child", {"a": a_step(), "sub": a_child("leaf", "a")}, input={"p": {}})
    engine.deploy("parent", {"p": a_step(), "sub": a_child("child", "p"), "z": a_step("sub")})
    run = engine.start("parent")
    work(engine, "parent", "child", "leaf", broken=("y",))
    (child,) = children(engine, run)
    (leaf,) = children(engine, child)
    refused = refusal(engine, leaf)

    reply = engine.call("retry_run", run)
    ran = work(engine, "parent", "child", "leaf")

    assert refused[0] == "PF005"
    assert f"is a child of run {run}" in refused[1]
    assert (reply["again"], reply["kept"], ran) == (["sub", "z"], ["p"], ["y", "z"])
    assert [engine.status(one) for one in (run, child, leaf)] == ["completed"] * 3
    assert children(engine, run) == [child]
    assert engine.one("select array_agg(distinct retries) from pgflow.runs") == [1]


def test_children_of_a_map_go_on_as_it_allows(engine: Engine) -> None:
    """Two at once; two had completed, the second of them unseen, one is gone, two never began."""
    engine.deploy("child", {"a": a_step()}, input={"item": {}})
    given = {"ast": ["dict", "item", ["path", "item"]], "paths": ["item"]}
    sub = a_child("child", map=path("input.list"), max_parallel=2, with_=given)
    engine.deploy("parent", {"sub": sub}, input={"list": {}})
    run = engine.start("parent", {"list": [0, 1, 2, 3, 4]})
    engine.claim("none")
    (first, second) = engine.claim("child")
    engine.report(done(first, 0))
    engine.claim("none")
    engine.report(failed(second, "fatal"))
    work(engine, "child")
    assert engine.status(run) == "failed"
    before = children(engine, run)
    assert [engine.status(child) for child in before] == ["completed", "failed", "completed"]
    for table in ("step_tasks", "task_errors", "step_states", "runs"):
        engine.db.execute(f"delete from pgflow.{table} where run_id = %s".encode(), [before[1]])

    engine.call("retry_run", run)
    live = []
    for _ in range(3):
        engine.claim("none")
        live.append(engine.one(LIVE))
    work(engine, "child")

    assert live == [1, 2, 2]
    after = children(engine, run)
    assert {before[0], before[2]} < set(after)
    assert before[1] not in after
    assert engine.snapshot(run)["run"]["output"] == {"sub": [{"a": 0}] + [{"a": "a"}] * 4}


def test_a_child_that_had_completed_too_late_counts(engine: Engine) -> None:
    """Its step had timed out when it completed."""
    engine.deploy("child", {"a": a_step()})
    engine.deploy("parent", {"sub": a_child("child", timeout=10_000)})
    engine.now("2100-01-01 12:00:00Z")
    run = engine.start("parent")
    engine.claim("none")
    engine.now("2100-01-01 12:00:20Z")
    with engine.db.transaction():  # the message about the timeout is not read
        engine.db.execute("update pgmq.q_pgflow__timers set vt = 'infinity'")
        engine.work("child")
    work(engine, "child")
    assert engine.result(run)[::2] == ("failed", "Timeout")

    engine.call("retry_run", run)
    work(engine, "child")

    assert engine.result(run) == ("completed", {"sub": {"a": "a"}}, None)
    assert len(children(engine, run)) == 1


def test_a_late_message_to_a_child_means_its_life_before(engine: Engine) -> None:
    """`cancel`, sent when the parent's step ended, is read after the child was retried."""
    engine.deploy("child", {"a": a_step()})
    engine.deploy("parent", {"sub": a_child("child"), "b": a_step()})
    run = engine.start("parent")
    engine.claim("none")
    work(engine, "parent", broken=("b",))
    (child,) = children(engine, run)
    late = {"kind": "cancel", "run_id": child, "retries": 0}
    work(engine, "child", "none")

    engine.call("retry_run", run)
    engine.claim("none")
    before = engine.status(child)
    engine.call("_queue_send_timer", "pgflow__timers", "2000-01-01", json.dumps(late))
    engine.claim("none")
    after = engine.status(child)
    engine.call("cancel_run", run)

    assert (before, after) == ("started", "started")
    assert engine.status(child) == "cancelled"


def test_a_cancel_before_the_child_goes_on(engine: Engine) -> None:
    """Parent and child stay ended."""
    engine.deploy("child", {"a": a_step()})
    engine.deploy("parent", {"sub": a_child("child")})
    run = engine.start("parent")
    work(engine, "child", broken=("a",))
    engine.call("retry_run", run)

    engine.call("cancel_run", run)
    work(engine, "child")

    assert [engine.status(one) for one in (run, *children(engine, run))] == ["cancelled", "failed"]


def test_a_retry_passes_by_whoever_holds_a_child(engine: Engine, other: Engine) -> None:
    """The turn waits for nobody; the child is retried in the next one."""
    engine.deploy("child", {"a": a_step()})
    engine.deploy("parent", {"sub": a_child("child")})
    run = engine.start("parent")
    work(engine, "child", broken=("a",))
    (child,) = children(engine, run)
    other.call("retry_run", run)

    past(
        engine, lambda: engine.db.execute(HOLD.encode(), [child]),
        other, lambda: other.claim("none"),
    )  # fmt: skip
    before = engine.status(child)
    engine.db.execute("update pgmq.q_pgflow__timers set vt = pgflow.clock()")

    assert (before, work(engine, "child")) == ("failed", ["a"])
    assert engine.status(run) == "completed"


ON = "select pgflow.retry_run(%s, null, %s, false, %s, %s)"


def test_a_run_goes_on_with_another_version(engine: Engine) -> None:
    """A mended step, a new one, one that is gone; items of a map that may try longer are kept."""
    engine.deploy(
        "flow",
        {"a": a_step(), "m": a_step("a", initial_tasks=3), "b": a_step("m"), "old": a_step("b")},
    )
    run = engine.start("flow")
    engine.report(*map(done, engine.claim("flow")))
    tasks = engine.claim("flow")
    engine.report(done(tasks[0], "kept"), failed(tasks[1], "fatal"))
    mended = {
        "a": a_step(), "m": a_step("a", initial_tasks=3, timeout=90_000),
        "b": a_step("m", handler="app.mended"), "new": a_step("b"),
    }  # fmt: skip
    version = engine.deploy("flow", mended, finally_={"f": a_step()})["version"]

    reply = engine.one(ON, run, None, None, "latest")
    ran = engine.work("flow", again)

    assert (reply["version"], reply["again"]) == (version, ["m", "b", "new", "f"])
    assert reply["items_kept"] == {"m": {"kept": 1, "total": 3}}
    assert ran == ["m", "m", "b", "new", "f"]
    assert engine.result(run) == ("completed", {"new": "new again"}, None)
    assert "old" not in engine.statuses(run)
    assert (
        engine.one("select details ->> 'version_before' from pgflow.audit where action = 'retry'")
        != version
    )


def test_a_version_that_differs_in_kept_steps_is_refused(engine: Engine) -> None:
    """PF006 names them; from there on it may."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a"), "c": a_step("b")})
    run = engine.start("flow")
    engine.work("flow", broken=("c",))
    engine.deploy("flow", {"a": a_step(), "b": a_step("a", handler="app.other"), "c": a_step("b")})

    dry = engine.one("select pgflow.retry_run(%s, p_version => 'latest', p_dry_run => true)", run)
    with pytest.raises(psycopg.Error, match="which differs in b") as error:
        engine.one(ON, run, None, None, "latest")
    with pytest.raises(psycopg.Error, match="has no version") as unknown:
        engine.one(ON, run, None, None, "77")
    engine.one(ON, run, ["b"], None, "latest")

    assert (dry["differs"], error.value.sqlstate, unknown.value.sqlstate) == (
        ["b"],
        "PF006",
        "PF001",
    )
    assert engine.work("flow") == ["b", "c"]


@pytest.mark.parametrize("way", ["kept", "anew", "versions"])
def test_200_zombies_of_the_life_before_are_lost(engine: Engine, other: Engine, way: str) -> None:
    """F35: before the new claim, after it, and by heartbeat, whatever became of their rows."""
    engine.deploy("flow", {"m": a_step(initial_tasks=200), "b": a_step()})
    run = engine.start("flow")
    tasks = engine.claim("flow", quantity=500)
    (b,) = (task for task in tasks if task["step"] == "b")
    zombies = [task for task in tasks if task["step"] == "m"]
    engine.report(failed(b, "fatal"))
    if way == "versions":
        engine.deploy("flow", {"b": a_step()})
        engine.one(ON, run, ["m", "b"], None, "latest")
        engine.call("cancel_run", run)
        engine.deploy("flow", {"m": a_step(initial_tasks=200), "b": a_step()})
    start = {"kept": None, "anew": ["m", "b"], "versions": ["b"]}[way]
    engine.one(ON, run, start, None, "latest")

    first = engine.report(*(done(task, "zombie") for task in zombies[:100]))
    told = engine.heartbeat(*zombies)
    owned = other.claim("flow", quantity=500)
    second = engine.report(*(done(task, "zombie") for task in zombies))
    other.report(*(done(task, "owner") for task in owned))

    assert (set(first), set(second)) == ({"lost"}, {"lost"})
    assert (len(told["lost"]), told["stop"]) == (200, [])
    assert engine.snapshot(run)["run"]["output"] == {"m": ["owner"] * 200, "b": "owner"}
    assert {task["attempt"] - task["uncounted"] for task in owned} == {1}


def test_of_two_retries_at_once_one_wins(engine: Engine, other: Engine) -> None:
    """The other finds a run that goes on."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    engine.work("flow", broken=("a",))

    second = into(
        engine, lambda: engine.call("retry_run", run),
        other, lambda: other.call("retry_run", run),
    )  # fmt: skip

    assert second.sqlstate == "PF005"
    assert engine.work("flow") == ["a"]


@pytest.mark.parametrize("first", ["retry_run", "cancel_run"])
def test_a_retry_meets_a_cancel(engine: Engine, other: Engine, first: str) -> None:
    """Of a run that has failed: the cancel ends what the retry began, or finds it ended."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    engine.work("flow", broken=("a",))
    second = "cancel_run" if first == "retry_run" else "retry_run"

    reply = into(
        engine, lambda: engine.call(first, run),
        other, lambda: other.call(second, run),
    )  # fmt: skip

    assert reply["status"] == ("cancelled" if first == "retry_run" else "started")
    assert engine.work("flow") == ([] if first == "retry_run" else ["a"])


def test_a_session_that_dies_before_its_commit_has_changed_nothing(
    engine: Engine, database: str
) -> None:
    """The next retry finds the run as it was."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    engine.work("flow", broken=("a",))
    before = engine.snapshot(run)

    session = psycopg.connect(database)
    session.execute("select pgflow.retry_run(%s)", [run])
    engine.db.execute("select pg_terminate_backend(%s)", [session.info.backend_pid])
    session.close()

    assert engine.snapshot(run)["steps"] == before["steps"]
    engine.call("retry_run", run)
    assert engine.work("flow") == ["a"]


def test_an_old_run_is_retried_or_pruned(engine: Engine, other: Engine) -> None:
    """While one holds the run, the other passes it by, or waits and finds what the first did."""
    engine.deploy("flow", {"a": a_step()})
    old, held = (engine.start("flow") for _ in range(2))
    engine.work("flow", broken=("a",))
    engine.db.execute("update pgflow.runs set pruned_at = now() where run_id = %s", [old])

    assert refusal(engine, old) == (
        "PF005",
        f"run {old} is being deleted, since it is old",
    )
    with engine.db.transaction():
        engine.call("retry_run", held)
        assert prune(other, older="0 s") == {"flow": 1, "tasks": 1}
    assert prune(other, older="0 s") == {}
    assert engine.work("flow") == ["a"]
    assert engine.status(held) == "completed"
    assert prune(other, older="0 s") == {"flow": 1, "tasks": 1}
    assert refusal(engine, held)[0] == "PF001"
