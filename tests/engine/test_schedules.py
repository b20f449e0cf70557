"""Schedules in the database: one run for each tick, whoever fires, and whenever."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import literal
from tests.engine.timetables import MINUTE, NOON, at, begin, due, fire, plan, row, ticks

if TYPE_CHECKING:
    from tests.engine.driver import Engine

TIMERS = "pgmq.q_pgflow__timers"
ALLOW = {**MINUTE, "overlap": "allow"}


def notes(engine: Engine) -> list[Any]:
    """The messages of schedules: the tick of each, and when it is due."""
    rows = engine.db.execute(
        f"select message ->> 'tick', to_jsonb(vt) from {TIMERS}"
        " where message ->> 'kind' = 'schedule' order by vt".encode()
    )
    return list(rows)


def test_a_tick_starts_a_run(engine: Engine) -> None:
    """A new schedule begins with the first tick after now; its run has the tick."""
    begin(engine)
    assert due(engine) == []
    assert row(engine, "to_jsonb(next_at)") == at(1)

    engine.now(at(1))
    found = due(engine)
    assert found == [
        {"flow": "report", "name": "every 1m", "spec": MINUTE, "tick": at(1), "catchup": "none",
         "now": at(1)}
    ]  # fmt: skip
    reply = fire(engine, at(1), [at(1)], at(2))

    (run,) = reply["runs"]
    assert reply == {"fired": 1, "runs": [run], "skipped": 0, "missed": 0}
    assert engine.one("select run_key from pgflow.runs where run_id = %s", run) == (
        "schedule:every 1m:2036-01-01T12:01:00Z"
    )
    assert ticks(engine) == [at(1)]
    assert engine.work("report") == ["work"]
    assert notes(engine) == [(at(2), at(2))]
    assert row(engine, "last_run") == engine.one("select %s::uuid", run)


def test_one_of_many_workers_fires(engine: Engine, other: Engine) -> None:
    """The others see a tick that is no longer the next one, and start nothing."""
    begin(engine)
    engine.now(at(1))
    other.now(at(1))
    assert len(due(engine)) == 1
    assert due(other) == []  # the message rests

    fired = [fire(who, at(1), [at(1)], at(2))["fired"] for who in (other, engine, other)]

    assert fired == [1, 0, 0]
    assert ticks(engine) == [at(1)]


def test_another_worker_fires_for_one_that_died(engine: Engine, other: Engine) -> None:
    """Between reading and firing: the message comes again ten seconds later."""
    begin(engine)
    engine.now(at(1))
    assert len(due(engine)) == 1
    other.now("2036-01-01 12:01:09Z")
    assert due(other) == []
    other.now("2036-01-01 12:01:10Z")
    assert [found["tick"] for found in due(other)] == [at(1)]

    assert fire(other, at(1), [at(1)], at(2))["fired"] == 1


def test_a_stale_message_fires_nothing_early(engine: Engine) -> None:
    """One of a tick that has passed is dropped; it does not find the next tick."""
    begin(engine)
    stale = {"kind": "schedule", "flow": "report", "name": "every 1m", "tick": at(1)}
    engine.now(at(1))
    engine.db.execute(
        f"insert into {TIMERS} (vt, message) values (%s, %s)".encode(), [at(1), json.dumps(stale)]
    )
    fire(engine, at(1), [at(1)], at(2))

    assert due(engine) == []

    assert notes(engine) == [(at(2), at(2))]


def test_a_deploy_between_reading_and_firing(engine: Engine) -> None:
    """With another schedule nothing is fired; with the same one, it goes on where it was."""
    begin(engine)
    engine.now(at(1))
    due(engine)
    plan(engine, {"name": "every 2m", "every": 120_000})

    assert fire(engine, at(1), [at(1)], at(2))["fired"] == 0
    assert [found["name"] for found in due(engine)] == ["every 2m"]
    assert row(engine, "count(*)") == 0

    fire(engine, None, [], at(2), name="every 2m")
    plan(engine, {"name": "every 2m", "every": 120_000, "catchup": "all"})
    assert row(engine, "to_jsonb(next_at)", "every 2m") == at(2)
    engine.now(at(2))
    assert [found["catchup"] for found in due(engine)] == ["all"]


def test_deploying_the_same_changes_nothing(engine: Engine) -> None:
    """Nor does a version that is stored and not activated."""
    begin(engine)
    before = row(engine, "to_jsonb(schedules)")
    plan(engine, MINUTE)
    definition = {"flow": "report", "steps": {}, "schedule": [{"name": "x", "every": 1000}]}
    arguments = [json.dumps(definition), "0" * 12]
    engine.one("select pgflow.deploy(%s, %s, '{}', 's', null, null, false)", *arguments)
    assert row(engine, "to_jsonb(schedules)") == before
    assert len(notes(engine)) == 1


def test_a_version_without_a_schedule_ends_it(engine: Engine) -> None:
    """And activating the old version begins it anew."""
    begin(engine)
    version = engine.one("select version from pgflow.definitions")
    engine.deploy("report", {})
    assert row(engine, "count(*)") == 0
    assert notes(engine) == []
    engine.call("activate", "report", version)
    assert [found["tick"] for found in due(engine)] == [None]


def test_ticks_that_are_caught_up_have_a_run_each(engine: Engine) -> None:
    """In their order, with those given up counted."""
    begin(engine, ALLOW)
    engine.now(at(4.5))
    due(engine)
    reply = fire(engine, at(1), [at(3), at(4)], at(5), missed=2)
    assert (reply["fired"], reply["missed"]) == (2, 2)
    assert ticks(engine) == [at(3), at(4)]
    assert row(engine, "array[fired, skipped, missed]") == [2, 0, 2]


def test_a_run_that_goes_on_skips_the_next_tick(engine: Engine) -> None:
    """By default; the tick is counted. Once it has ended, the next one starts."""
    begin(engine)
    assert fire(engine, at(1), [at(1)], at(2))["fired"] == 1
    assert fire(engine, at(2), [at(2)], at(3))["skipped"] == 1
    engine.now(at(3))
    engine.work("report")
    assert fire(engine, at(3), [at(3)], at(4))["fired"] == 1
    assert ticks(engine) == [at(1), at(3)]


def test_a_clock_that_jumps_back_fires_nothing_twice(engine: Engine) -> None:
    """The schedule was deleted and made again, or the server's clock was set: the key is taken."""
    begin(engine, ALLOW)
    fire(engine, at(1), [at(1)], at(2))
    engine.db.execute("update pgflow.schedules set next_at = %s", [at(1)])
    assert fire(engine, at(1), [at(1)], at(2))["fired"] == 0
    assert ticks(engine) == [at(1)]


def test_the_input_is_evaluated_at_each_tick(engine: Engine) -> None:
    """With what is known of the run."""
    day = {"ast": ["dict", "day", ["path", "run.scheduled_at"]], "paths": ["run.scheduled_at"]}
    begin(engine, {**ALLOW, "input": day}, input={"day": {"type": "string"}})
    fire(engine, at(1), [at(1)], at(2))
    assert engine.one("select input from pgflow.runs") == {"day": "2036-01-01T12:01:00Z"}


def test_a_refused_input_is_kept_with_the_schedule(engine: Engine) -> None:
    """No run is made, later ticks go on; the problem is gone with the first tick that starts."""
    begin(engine, {**ALLOW, "input": literal({})}, input={"day": {"type": "string"}})
    reply = fire(engine, at(1), [at(1)], at(2))

    assert (reply["fired"], reply["missed"]) == (0, 1)
    assert "day" in reply["problem"]
    problem = row(engine, "last_problem")
    assert problem["message"] == reply["problem"]
    assert problem["tick"] == at(1)
    assert row(engine, "to_jsonb(next_at)") == at(2)

    plan(engine, {**ALLOW, "input": literal({"day": "x"})}, input={"day": {"type": "string"}})
    assert fire(engine, at(2), [at(2)], at(3))["fired"] == 1
    assert row(engine, "last_problem") is None


def test_a_schedule_that_a_worker_cannot_reckon(engine: Engine) -> None:
    """Such as a zone that it does not have: it is said, and another may try in a minute."""
    begin(engine)
    engine.now(at(1))
    due(engine)
    fire(engine, at(1), [], None, problem="no zone")
    assert row(engine, "last_problem ->> 'message'") == "no zone"
    engine.now(at(2))
    assert [found["tick"] for found in due(engine)] == [at(1)]


def test_the_sweep_sends_a_missing_message(engine: Engine) -> None:
    """Of a schedule that is not paused; also after the whole queue was dropped."""
    begin(engine)
    engine.db.execute(f"delete from {TIMERS}".encode())
    assert engine.call("sweep") == 1
    assert engine.call("sweep") == 0
    assert notes(engine) == [(at(1), at(1))]
    engine.db.execute("select pgmq.drop_queue('pgflow__timers')")
    assert engine.call("sweep") == 1
    assert notes(engine) == [(at(1), at(1))]


@pytest.mark.parametrize(
    "schedule",
    [
        [],
        {},
        "daily",
        [MINUTE, MINUTE],
        [{"name": "a"}],
        [{"name": "a", "every": 100}],
        [{"name": "a", "every": 1500}],
        [{"name": "a", "every": 1000, "cron": "* * * * *", "timezone": "UTC"}],
        [{"name": "a", "cron": "* * * * *"}],
        [{**MINUTE, "overlap": "perhaps"}],
        [{**MINUTE, "catchup": 1}],
        [{**MINUTE, "input": {}}],
        [{**MINUTE, "more": 1}],
        [{"every": 1000}],
        [None],
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(engine: Engine, schedule: object) -> None:
    """By deploy, as PF004: a caller from SQL has no compiler."""
    with pytest.raises(psycopg.Error, match="schedule") as refusal:
        engine.deploy("report", {}, schedule=schedule)
    assert refusal.value.sqlstate == "PF004"


def test_a_key_of_a_tick_is_refused_by_start(engine: Engine) -> None:
    """Or somebody could start a run in the place of a tick."""
    begin(engine)
    with pytest.raises(psycopg.Error, match="refused") as refusal:
        engine.start("report", key="schedule:every 1m:2036-01-01T12:01:00Z")
    assert "schedule:" in (refusal.value.diag.message_detail or "")


def test_ticks_that_make_no_sense_are_refused(engine: Engine) -> None:
    """A next tick that is not after those that fire would fire for ever."""
    begin(engine)
    for given in ([at(1)], at(1)), ([at(2)], at(1)), ([at(1)] * 1001, at(2)), ([], "infinity"):
        with pytest.raises(psycopg.Error) as refusal:
            fire(engine, at(1), *given)
        assert refusal.value.sqlstate == "PF006"
    assert NOON
