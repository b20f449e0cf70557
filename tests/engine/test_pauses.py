"""Schedules and queues for people: paused, resumed, filled afterwards, and runs for later."""

from __future__ import annotations

import psycopg
import pytest

from tests.engine.driver import Engine, a_step
from tests.engine.timetables import MINUTE, WORK, at, begin, due, fire, plan, row, ticks

ALLOW = {**MINUTE, "overlap": "allow"}
NIGHTLY = {"name": "0 3 * * * UTC", "cron": "0 3 * * *", "timezone": "UTC"}


def wind(engine: Engine) -> None:
    """Run all timers that are due."""
    while "timers" in engine.call("wind", engine.worker):
        pass


def test_a_paused_schedule_fires_nothing(engine: Engine) -> None:
    """Not even what a worker has read before; resumed, it goes on with the first tick after now."""
    begin(engine)
    engine.now(at(1))
    assert len(due(engine)) == 1
    (paused,) = engine.call("pause_schedules", "report", None, "anna")
    assert (paused["paused_by"], paused["already"]) == ("anna", False)

    assert fire(engine, at(1), [at(1)], at(2))["fired"] == 0
    assert engine.call("pause_schedules", "report")[0]["already"]
    engine.now(at(30))
    assert due(engine) == []
    assert engine.call("sweep") == 0

    assert engine.call("resume_schedules", "report") == [
        {"flow": "report", "name": "every 1m", "resumed": True}
    ]
    assert [found["tick"] for found in due(engine)] == [None]
    assert not engine.call("resume_schedules", "report")[0]["resumed"]


def test_the_ticks_of_a_pause_can_be_caught_up(engine: Engine) -> None:
    """`resume --catchup` counts for this one time, whatever the schedule says."""
    begin(engine)
    engine.call("pause_schedules", "report")
    engine.now(at(30))
    engine.call("resume_schedules", "report", None, "all")
    assert [(found["tick"], found["catchup"]) for found in due(engine)] == [(at(1), "all")]
    fire(engine, at(1), [at(30)], at(31))
    engine.now(at(31))
    assert [found["catchup"] for found in due(engine)] == ["none"]


def test_one_of_several_schedules_is_paused(engine: Engine) -> None:
    """By its name, or the only one that begins so; a deploy keeps the pause."""
    begin(engine, MINUTE, NIGHTLY)
    engine.call("pause_schedules", "report", "0 3")
    assert row(engine, "paused_at") is None
    plan(engine, {**NIGHTLY, "catchup": "last"})
    assert row(engine, "paused_at", NIGHTLY["name"]) is not None
    listed = engine.call("list_schedules", "report")
    assert [(one["name"], one["paused_at"] is None) for one in listed] == [(NIGHTLY["name"], False)]


@pytest.mark.parametrize(
    ("flow", "name", "words"),
    [
        ("nothing", None, "there is no flow"),
        ("plain", None, "has no schedule"),
        ("stored", None, "no active version"),
        ("report", "weekly", 'no schedule "weekly"; it has "every 1m"'),
        ("report", "every", "more than one"),
    ],
)
def test_a_schedule_that_is_not_there(
    engine: Engine, flow: str, name: str | None, words: str
) -> None:
    """A flow that was never activated has none, either."""
    begin(engine, MINUTE, {"name": "every 2m", "every": 120_000})
    engine.deploy("plain", WORK)
    engine.deploy("stored", WORK)
    engine.db.execute("update pgflow.definitions set active = false where name = 'stored'")
    for call in "pause_schedules", "resume_schedules":
        with pytest.raises(psycopg.Error, match=words) as refusal:
            engine.call(call, flow, name)
        assert refusal.value.sqlstate == "PF001"


def test_a_list_says_how_late_a_schedule_is(engine: Engine) -> None:
    """And whether any worker lives."""
    begin(engine)
    engine.heartbeat()
    (listed,) = engine.call("list_schedules", "report")
    assert (listed["late_seconds"], listed["next_at"], listed["served"]) == (None, at(1), True)
    engine.call("stop_worker", engine.worker)
    engine.now(at(4))
    (listed,) = engine.call("list_schedules")
    assert (listed["late_seconds"], listed["served"]) == (180, False)


def backfill(engine: Engine, *minutes: int, **more: object) -> dict[str, int]:
    """Fill these ticks."""
    reply: dict[str, int] = engine.one(
        "select pgflow.backfill_schedule('report', 'every 1m', %s::timestamptz[], %s, %s, %s)",
        [at(minute) for minute in minutes],
        more.get("at_once", 1), more.get("suffix"), more.get("dry_run", False),
    )  # fmt: skip
    return reply


def test_a_backfill_starts_what_is_missing(engine: Engine) -> None:
    """Oldest first, so many at a time; their label says so. A second one starts nothing."""
    begin(engine, ALLOW)
    fire(engine, at(1), [at(2)], at(5), missed=1)
    engine.now(at(4))

    assert backfill(engine, 1, 2, 3, 4, dry_run=True) == {"started": 3, "existing": 1}
    assert ticks(engine) == [at(2)]
    assert backfill(engine, 1, 2, 3, 4) == {"started": 3, "existing": 1}
    wind(engine)

    assert ticks(engine) == [at(1), at(2), at(3), at(4)]
    begun = "select to_jsonb(array_agg(distinct r.scheduled_at)) from pgflow.runs r"
    begun += " join pgflow.step_states s on s.run_id = r.run_id"
    assert engine.one(begun) == [at(1), at(2)]  # that of the tick, and the first of the others
    assert engine.work("report") == ["work"] * 4
    filled = "select count(*) from pgflow.runs where labels ->> 'backfill' = 'true'"
    assert engine.one(filled) == 3
    assert backfill(engine, 1, 2, 3, 4) == {"started": 0, "existing": 4}
    assert backfill(engine, 1, 2, suffix="again", at_once=5) == {"started": 2, "existing": 0}
    engine.work("report")
    assert engine.one("select count(*) from pgflow.slots") == 0


def test_a_backfill_is_for_the_past(engine: Engine) -> None:
    """A tick that is to come would have no run of its own any more."""
    begin(engine)
    for arguments in ({"minutes": [1]}, {"minutes": [-1], "at_once": 0}):
        with pytest.raises(psycopg.Error, match="have passed") as refusal:
            backfill(engine, *arguments.pop("minutes"), **arguments)  # type: ignore[misc]
        assert refusal.value.sqlstate == "PF006"


def test_a_paused_queue_is_served_by_nobody(engine: Engine) -> None:
    """Also by workers that name it; others go on. Its tasks say why they wait."""
    begin(engine)
    engine.deploy("other", {"a": a_step()})
    run = engine.start("report")
    reply = engine.call("pause_queue", "report", "anna")
    assert (reply["paused_by"], reply["already"]) == ("anna", False)
    assert engine.call("pause_queue", "report")["already"]

    assert engine.call("served_queues") == ["other"]
    named = engine.one("select pgflow.served_since('{report,other}', null) -> 'queues'")
    assert named == ["other"]
    why = engine.call("run_why", run)["work"]
    assert {key: why[key] for key in ("kind", "queue", "by")} == {
        "kind": "paused", "queue": "report", "by": "anna"
    }  # fmt: skip

    assert engine.call("resume_queue", "report") == {"queue": "report", "resumed": True}
    assert engine.call("resume_queue", "report")["resumed"] is False
    assert set(engine.call("served_queues")) == {"report", "other"}
    with pytest.raises(psycopg.Error, match="no flow uses"):
        engine.call("pause_queue", "nothing")


def start_at(engine: Engine, moment: str | None, key: str | None = None) -> str:
    """Start `report` for a time."""
    reply = engine.call("start_run", "report", "{}", key, None, None, None, moment)
    return str(reply["run_id"])


def test_a_run_for_later_begins_then(engine: Engine) -> None:
    """It is there at once, under its key; its time out begins when it does."""
    engine.now(at(0))
    engine.deploy("report", WORK, timeout=60_000)
    run = start_at(engine, at(10), "k")
    assert start_at(engine, at(20), "k") == run
    wind(engine)
    assert (engine.status(run), engine.statuses(run)) == ("started", {})

    engine.db.execute("delete from pgmq.q_pgflow__timers")
    assert engine.call("sweep") == 1
    engine.now(at(9.9))
    wind(engine)
    assert engine.statuses(run) == {}
    engine.now(at(10))
    wind(engine)
    assert engine.statuses(run) == {"work": "started"}
    assert engine.one("select to_jsonb(started_at) from pgflow.runs") == at(10)
    engine.now(at(10.9))
    wind(engine)
    assert engine.work("report") == ["work"]
    assert ticks(engine) == [at(10)]


def test_a_run_for_later_is_cancelled(engine: Engine) -> None:
    """It ends at once: nothing was begun, so nothing is cleaned up."""
    engine.now(at(0))
    engine.deploy("report", WORK, finally_={"clean": a_step()})
    run = start_at(engine, at(10))
    engine.call("cancel_run", run, "not wanted")
    assert engine.status(run) == "cancelled"
    engine.now(at(11))
    wind(engine)
    assert engine.statuses(run) == {}


def test_a_run_for_a_past_time_begins_at_once(engine: Engine) -> None:
    """And one of a limited flow waits for its slot afterwards."""
    engine.now(at(0))
    engine.deploy("report", WORK, concurrency={"limit": 1})
    first = engine.start("report")
    run = start_at(engine, at(-10))
    wind(engine)
    assert engine.statuses(run) == {}
    assert engine.work("report") == ["work", "work"]
    assert [engine.status(each) for each in (first, run)] == ["completed"] * 2
    for wrong in "infinity", "2050-01-01Z":
        with pytest.raises(psycopg.Error, match="refused"):
            start_at(engine, wrong)
