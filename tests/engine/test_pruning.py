"""Retention: what is deleted, what stays, and what somebody else holds meanwhile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import Engine, a_child, a_step, a_wait, done, failed, literal, path
from tests.engine.pruner import LEFT, prune, prune_due

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door

DAY = "2036-01-{:02} 12:00:00Z"
ONE = {"a": a_step()}


def keep(engine: Engine, flow: str, **days: float | None) -> None:
    """Set the retention of a flow, as a deploy does."""
    kept = {status: n and n * 86_400_000 for status, n in days.items()}
    engine.db.execute(
        b"update pgflow.flows set retention = %s where queue_name = %s", [json.dumps(kept), flow]
    )


def at(engine: Engine, moment: int | str) -> None:
    """Set the clock to noon of a day of that month, or to a moment; the worker is alive."""
    engine.now(DAY.format(moment) if isinstance(moment, int) else moment)
    engine.call("register_worker", engine.worker, None, "{}")


def ended(engine: Engine, flow: str, *, how: str = "completed") -> str:
    """A run that has ended now."""
    run = engine.start(flow)
    if how == "cancelled":
        engine.call("cancel_run", run)
    engine.work(flow, broken=("a",) if how == "failed" else ())
    assert engine.status(run) == how
    return run


def runs(engine: Engine) -> list[str]:
    """The runs that are left, in the order of their starts."""
    query = "select array_agg(run_id::text order by started_at, run_id) from pgflow.runs"
    return engine.one(query) or []


def test_ended_runs_go_when_their_time_is_over(engine: Engine) -> None:
    """Cancelled ones as completed ones; what is younger stays, and of the others nothing."""
    at(engine, 1)
    engine.deploy("flow", ONE)
    keep(engine, "flow", completed=2, failed=4)
    first = {how: ended(engine, "flow", how=how) for how in ("completed", "cancelled", "failed")}
    at(engine, 2)
    second = ended(engine, "flow")

    at(engine, "2036-01-03 12:00:01Z")
    after_two_days = prune_due(engine), runs(engine)
    at(engine, "2036-01-05 12:00:01Z")
    after_four = prune_due(engine), engine.one(LEFT)

    assert after_two_days == ({"flow": 2, "tasks": 2}, [first["failed"], second])
    assert after_four == ({"flow": 2, "tasks": 2}, [0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("kept", "days", "left"),
    [(None, 29, 2), (None, 31, 0), ({"completed": None, "failed": 1}, 400, 1)],
)
def test_a_flow_without_a_word_keeps_its_runs_for_30_days(
    engine: Engine, kept: dict[str, float | None] | None, days: int, left: int
) -> None:
    """And `off` keeps them for ever."""
    engine.deploy("flow", ONE)
    if kept:
        keep(engine, "flow", **kept)
    at(engine, "2036-01-01 12:00Z")
    ended(engine, "flow")
    ended(engine, "flow", how="failed")

    later = "select ('2036-01-01 12:00Z'::timestamptz + %s * interval '1 day')::text"
    at(engine, engine.one(later, days))
    prune_due(engine)

    assert len(runs(engine)) == left


def test_the_active_version_says_how_long_all_runs_of_a_name_are_kept(engine: Engine) -> None:
    """Deployed with it; another one deployed without it has the default again."""
    at(engine, 1)
    engine.deploy("flow", ONE)
    ended(engine, "flow")
    body = json.dumps({"flow": "flow", "steps": {"b": a_step()}})

    def deploy(retention: object) -> None:
        kept = retention and json.dumps(retention)
        arguments = (body, "bbbbbbbbbbbb", ["b"], "source", None, None, True, None, kept)
        engine.call("deploy", *arguments)

    at(engine, 3)
    deploy(None)
    untouched = prune_due(engine)
    deploy({"completed": 86_400_000, "failed": None})

    assert (untouched, prune_due(engine)) == ({}, {"flow": 1, "tasks": 1})
    for wrong in ({"completed": 1}, {"completed": "1d", "failed": 1}, {"completed": -1, "failed": 1}, 3):
        with pytest.raises(psycopg.Error, match="the retention of flow") as refused:
            deploy(wrong)
        assert refused.value.sqlstate == "PF004"


def test_live_and_waiting_runs_stay(engine: Engine) -> None:
    """However old; the pass goes on behind them."""
    at(engine, 1)
    engine.deploy("flow", {"a": a_step(), "w": a_wait("a", wait={"event": "go"})})
    keep(engine, "flow", completed=1, failed=1)
    waiting = engine.start("flow")
    engine.work("flow")
    gone = engine.start("flow")
    engine.call("cancel_run", gone)
    queued = engine.start("flow")

    at(engine, 20)

    assert prune_due(engine) == {"flow": 1, "tasks": 1}
    assert runs(engine) == sorted([waiting, queued])
    assert engine.call("send_event", waiting, "go", "1")["steps"] == ["w"]


def test_children_go_with_their_parents_and_never_before(engine: Engine) -> None:
    """By the retention of the parent's flow; a child that lost its parent goes by its own."""
    at(engine, 1)
    engine.deploy("child", ONE)
    engine.deploy("parent", {"sub": a_child("child"), "other": a_child("child", "sub", with_=literal({}))})
    keep(engine, "child", completed=1, failed=1)
    keep(engine, "parent", completed=5, failed=5)
    run = engine.start("parent")
    alone = ended(engine, "child")
    engine.work_on("child", "parent")
    assert engine.status(run) == "completed"

    at(engine, 4)
    early = prune_due(engine)
    assert alone not in runs(engine)
    assert len(runs(engine)) == 3
    at(engine, 7)

    assert early == {"child": 1, "tasks": 1}
    assert prune_due(engine) == {"child": 2, "parent": 1, "tasks": 4}
    assert engine.one(LEFT) == [0, 0, 0, 0, 0]
    orphan = ended(engine, "child")
    engine.db.execute(b"update pgflow.runs set parent_run_id = gen_random_uuid()")
    at(engine, 9)
    assert (prune_due(engine), runs(engine), orphan != "") == ({"child": 1, "tasks": 1}, [], True)
