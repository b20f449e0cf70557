"""Retention: what is deleted, what stays, and what somebody else holds meanwhile."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import Engine, a_child, a_step, a_wait, done, literal
from tests.engine.pruner import (
    FAN,
    ITEMS,
    LEFT,
    ONE,
    at,
    ended,
    first_commits,
    keep,
    prune,
    prune_due,
    runs,
)
from tests.fixtures.waiting import until_blocked

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door


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
    for wrong in (
        {"cancelled": 1},
        {"completed": "1d", "failed": 1},
        {"completed": -1, "failed": 1},
        3,
    ):
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
    engine.deploy(
        "parent", {"sub": a_child("child"), "other": a_child("child", "sub", with_=literal({}))}
    )
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


def test_two_prunes_at_once_take_turns(engine: Engine, other: Engine) -> None:
    """The second is told so, in the middle of a commit and between two; then it finds nothing."""
    at(engine, 1)
    engine.deploy("flow", ONE)
    ended(engine, "flow")
    keep(engine, "flow", completed=1, failed=1)
    for moment in (engine, other):
        at(moment, 3)
    other.db.execute("set lock_timeout = '1ms'")

    with engine.db.transaction():
        cursor = first_commits(engine, 1)
        within = other.call("prune_due", other.worker)
    between = other.call("prune", other.worker)

    assert (within["busy"], between["busy"], within["runs"]) == (True, True, {})
    while cursor:
        cursor = engine.call("prune_due", engine.worker, json.dumps(cursor))["cursor"]
    assert prune_due(other) == {}


@pytest.mark.parametrize("what", ["cancel", "zombie", "event"])
def test_prune_passes_by_a_run_that_somebody_holds(
    engine: Engine, other: Engine, what: str
) -> None:
    """A cancel in an open transaction, a late report, an event: nobody waits, it goes later."""
    at(engine, 1)
    engine.deploy("flow", ONE)
    keep(engine, "flow", completed=1, failed=1)
    held = engine.start("flow")
    (task,) = engine.claim("flow")
    engine.call("cancel_run", held)
    free = ended(engine, "flow")
    at(engine, 3)
    at(other, 3)
    engine.db.execute("set lock_timeout = '1ms'")

    with other.db.transaction():
        if what == "zombie":
            other.worker = engine.worker
            other.db.execute(b"select from pgflow.runs where run_id = %s for key share", [held])
            assert other.report(done(task)) == ["run_terminal"]
        elif what == "cancel":
            assert other.call("cancel_run", held)["cancelled"] is False
        else:
            other.db.execute(b"select from pgflow.runs where run_id = %s for no key update", [held])
        assert prune_due(engine) == {"flow": 1, "tasks": 1}
        assert runs(engine) == [held]

    assert free
    assert prune_due(engine) == {"flow": 1, "tasks": 1}
    assert engine.report(done(task)) == ["lost"]
    with pytest.raises(psycopg.Error, match="there is no run") as gone:
        engine.call("cancel_run", held)
    assert gone.value.sqlstate == "PF001"


def test_whoever_waits_for_a_run_that_is_pruned_finds_it_gone(
    engine: Engine, other: Engine
) -> None:
    """A cancel says so; a start with its key begins a new run."""
    at(engine, 1)
    engine.deploy("flow", ONE)
    keep(engine, "flow", completed=1, failed=1)
    run = engine.start("flow", key="k")
    engine.work("flow")
    at(engine, 3)
    at(other, 3)

    for call in (lambda: other.call("cancel_run", run), lambda: other.start("flow", key="k")):
        found = _into(engine, lambda: first_commits(engine, 1), other, call)
        if isinstance(found, psycopg.Error):
            assert found.sqlstate == "PF001"
            engine.start("flow", key="k")
            engine.work("flow")
            at(engine, 5)
            at(other, 5)
        else:
            assert found not in (run, None)
            assert runs(engine) == [found]


STOP = """
create function public.stop() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(4711);
  return null;
end $$;
create trigger stop after insert on pgflow.runs for each statement execute function public.stop();
select pg_advisory_lock(4711)"""


def test_a_start_whose_first_run_is_pruned_at_that_moment_begins_another(
    engine: Engine, other: Engine
) -> None:
    """Between the moment when it finds the key in use and the one when it reads that run."""
    at(engine, 1)
    engine.deploy("flow", ONE)
    keep(engine, "flow", completed=1, failed=1)
    run = engine.start("flow", key="k")
    engine.work("flow")
    at(engine, 3)
    engine.db.execute(STOP)
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(other.start("flow", key="k")))
    thread.start()
    until_blocked(engine.db, other.db.info.backend_pid)

    assert prune_due(engine) == {"flow": 1, "tasks": 1}
    engine.db.execute("select pg_advisory_unlock(4711)")
    thread.join(20)

    assert found == runs(engine)
    assert found != [run]


def _into(engine: Engine, first: Any, other: Engine, then: Any) -> Any:
    """Do `first` in an open transaction, let the other run into its locks, commit."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(then())
        except psycopg.Error as error:
            found.append(error)

    with engine.db.transaction():
        first()
        thread = threading.Thread(target=run)
        thread.start()
        until_blocked(engine.db, other.db.info.backend_pid)
    thread.join(20)
    return found[0]


def test_a_dry_run_counts_what_would_go_and_deletes_nothing(engine: Engine) -> None:
    """Of some flows, ages and kinds; the same numbers as the pass after it."""
    at(engine, 1)
    for name in ("child", "flow"):
        engine.deploy(name, ONE)
        keep(engine, name, completed=1, failed=None)
    engine.deploy("fan", FAN, input=ITEMS)
    engine.start("fan", {"items": list(range(210))})
    engine.work_on("child", "fan")
    for how in ("completed", "failed", "completed"):
        ended(engine, "flow", how=how)
    at(engine, 3)
    ended(engine, "flow")
    at(engine, "2036-01-03 12:00:01Z")
    before = engine.one(LEFT)

    asked: list[tuple[str | None, str | None]] = [
        (None, None),
        ("flow", "10 years"),
        ("flow", "0 s"),
        (None, "1 hour"),
    ]
    expected = [prune(engine, flow, older, dry_run=True) for flow, older in asked]

    assert engine.one(LEFT) == before
    assert expected[:3] == [
        {"flow": 2, "tasks": 2},
        {},
        {"flow": 4, "tasks": 4},
    ]
    assert expected[3] == {"flow": 2, "child": 210, "fan": 1, "tasks": 2 + 420}
    assert prune(engine) == expected[0]
    again = prune(engine, None, "1 hour", dry_run=True)
    assert prune(engine, None, "1 hour") == again == {"child": 210, "fan": 1, "tasks": 420}
    assert prune(engine, "flow", "0 s") == {"flow": 2, "tasks": 2}
    assert engine.one(LEFT) == [0, 0, 0, 0, 0]


def test_an_age_and_a_flow_are_checked(engine: Engine, door: Door) -> None:
    """Before anything goes; flows of create_flow are not ours to prune."""
    door.flow("theirs", a={})
    for arguments, words in (
        (("nobody", None), 'there is no flow "nobody"'),
        (("theirs", None), "was made by create_flow"),
        ((None, "-1 s"), "a time back is from"),
    ):
        with pytest.raises(psycopg.Error, match=words):
            prune(engine, *arguments)
