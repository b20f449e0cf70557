"""Waits that others are told of: when they begin, and again until they are decided."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pgflow_yaml.language import listening
from pgflow_yaml.language.inputs import apply_defaults_and_check
from tests.engine.asking import FORM, HOUR, NOON, ask, decide
from tests.engine.compiled import Compiled
from tests.engine.costs import Meter
from tests.engine.driver import a_child, a_wait
from tests.engine.history import complete_runs
from tests.engine.listeners import listen, told, wind

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def test_a_wait_is_told_when_it_begins(engine: Engine) -> None:
    """What is asked, whom, until when: with the facts of its run."""
    listen(engine, status=["waiting"])
    ask(engine, form=FORM, by=["ann"], timeout=HOUR)
    engine.now(NOON)
    run = engine.start("flow")

    wind(engine)

    version = engine.snapshot(run)["run"]["version"]
    assert told(engine) == [
        {
            "run": run, "flow": "flow", "version": version, "status": "waiting", "step": "ok",
            "event": "approval", "form": FORM, "by": ["ann"], "reminder": 0,
            "until": "2036-01-01T13:00:00.000000Z", "error": None, "labels": {}, "output": None,
            "scheduled_at": None, "retries": 0,
        }
    ]  # fmt: skip
    decide(engine, run, {"amount": 1})
    engine.now("2036-01-01 14:00:00Z")
    wind(engine)
    assert len(told(engine)) == 1
    assert engine.status(run) == "started"  # its next step


def test_a_wait_that_is_told_still_times_out(engine: Engine) -> None:
    """At its time, neither before nor by being told."""
    listen(engine, status=["waiting"])
    ask(engine, timeout=HOUR)
    engine.now(NOON)
    run = engine.start("flow")
    wind(engine)

    engine.now("2036-01-01 12:59:59Z")
    wind(engine)
    before = engine.status(run)
    engine.now("2036-01-01 13:00:00Z")
    wind(engine)

    assert before == "started"
    assert engine.result(run)[2] == "WaitTimeout"


def test_a_wait_is_told_again_until_it_is_decided(engine: Engine) -> None:
    """At each interval since it began; those that passed while nobody worked are told once."""
    listen(engine, status=["waiting"])
    ask(engine, remind=HOUR)
    engine.now(NOON)
    run = engine.start("flow")

    for moment in ("12:00:00", "12:59:59.9", "13:00:00", "13:30:00", "16:10:00", "17:00:00"):
        engine.now(f"2036-01-01 {moment}Z")
        wind(engine)
    decide(engine, run)
    engine.now("2036-01-02 12:00:00Z")
    wind(engine)

    assert [one["reminder"] for one in told(engine)] == [0, 1, 4, 5]
    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 0


def test_who_listens_later_hears_the_next_reminder(engine: Engine) -> None:
    """A wait with `remind` looks each time who listens; one without is told of at its begin."""
    ask(engine, remind=HOUR)
    ask(engine, "quiet")
    engine.now(NOON)
    engine.start("flow")
    engine.start("quiet")
    timers = engine.one("select count(*) from pgmq.q_pgflow__timers")

    listen(engine, status=["waiting"])
    engine.now("2036-01-01 13:00:00Z")
    wind(engine)

    assert timers == 1  # nothing for a wait that nobody hears
    assert [(one["flow"], one["reminder"]) for one in told(engine)] == [("flow", 1)]


def test_reminders_end_with_the_run(engine: Engine) -> None:
    """Its message in the timer queue goes with the step."""
    ask(engine, remind=HOUR)
    run = engine.start("flow")

    engine.call("cancel_run", run, "not wanted")

    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 0


def test_a_retried_wait_is_told_anew(engine: Engine) -> None:
    """The retry is in the key of the run, so that it is another telling."""
    listen(engine, status=["waiting"])
    ask(engine)
    run = engine.start("flow")
    wind(engine)
    decide(engine, run, reject=True)

    engine.call("retry_run", run)
    wind(engine)

    assert [one["retries"] for one in told(engine)] == [0, 1]


def test_a_wait_of_a_child_run_is_told(engine: Engine) -> None:
    """Its parent does not wait for people; an end of a child is still the parent's to tell."""
    listen(engine, flows=["flow"], status=["waiting", "failed"])
    ask(engine)
    engine.deploy("outer", {"c": a_child("flow")})
    engine.start("outer")
    wind(engine)

    (one,) = told(engine)
    decide(engine, one["run"], reject=True)
    wind(engine)

    assert one["step"] == "ok"
    assert len(told(engine)) == 1


def test_a_lost_reminder_is_sent_again(engine: Engine) -> None:
    """The sweep finds a wait whose message is gone; what was told already starts nothing twice."""
    listen(engine, status=["waiting"])
    ask(engine, remind=HOUR)
    ask(engine, "timed", remind=HOUR, timeout=2 * HOUR)
    engine.now(NOON)
    engine.start("flow")
    timed = engine.start("timed")
    wind(engine)

    engine.db.execute("delete from pgmq.q_pgflow__timers")
    engine.now("2036-01-01 12:10:00Z")
    assert engine.call("sweep") == 2
    wind(engine)
    engine.now("2036-01-01 13:00:00Z")
    wind(engine)
    engine.now("2036-01-01 14:00:00Z")
    wind(engine)

    numbers = [(one["flow"], one["reminder"]) for one in told(engine)]
    assert sorted(numbers) == [("flow", 0), ("flow", 1), ("flow", 2), ("timed", 0), ("timed", 1)]
    assert engine.result(timed)[2] == "WaitTimeout"


def test_a_chain_of_listeners_ends(engine: Engine) -> None:
    """A flow that waits and is started by waits does not start itself through others.

    The audit says so once, not at each reminder.
    """
    for name, heard in (("one", "two"), ("two", "one")):
        engine.deploy(name, {"ok": a_wait(wait={"event": "x", "remind": HOUR})},
                      after={"flows": [heard], "status": ["waiting"]})  # fmt: skip
    engine.now(NOON)
    engine.call("start_run", "one", "{}")
    wind(engine)
    last = engine.one("select run_id::text from pgflow.runs where chain = 4")
    runs = engine.one("select count(*) from pgflow.runs")

    engine.now("2036-01-01 13:00:00Z")
    wind(engine)

    assert runs == 5
    (line,) = engine.call("run_audit", last)
    assert (line["action"], line["details"]) == ("after", {
        "flow": "one", "status": "waiting", "step": "ok", "not_started": ["two"],
        "reason": "4 runs have started each other by `after`; the chain ends here",
    })  # fmt: skip


def test_the_compiled_input_is_what_a_listener_is_given(engine: Engine) -> None:
    """Every field, of the declared type, of a wait and of an end."""
    text = (
        "flow: alert\nafter: {flows: flow, status: [waiting, failed]}\n"
        "steps: {tell: {handler: app.tell, with: {to: '${{ input.by }}'}}}\n"
    )
    Compiled(engine, text)
    body = engine.one("select definition from pgflow.definitions where name = 'alert'")
    ask(engine, form=FORM, by=["ann"], timeout=HOUR)
    run = engine.start("flow")
    wind(engine)
    decide(engine, run, reject=True)
    wind(engine)

    for given in told(engine):
        assert set(given) == set(listening.INPUT_OF_WAITS)
        assert apply_defaults_and_check(body["input"], given) == (given, [])
    assert [given["status"] for given in told(engine)] == ["waiting", "failed"]


# Listing


def test_what_waits_is_listed_the_longest_first(engine: Engine) -> None:
    """With what is asked, whom, and the next reminder; ended, decided and timed ones are not."""
    ask(engine, form=FORM, by=["ann"], remind=HOUR, timeout=90 * 60_000)
    ask(engine, "plain")
    engine.deploy("timed", {"nap": a_wait(wait={"for": 1000})})
    engine.now(NOON)
    first = engine.start("flow", key="order-7")
    engine.now("2036-01-01 12:01:00Z")
    second = engine.start("plain")
    engine.start("timed")
    decide(engine, engine.start("plain"))
    engine.call("cancel_run", engine.start("plain"), "no")

    rows = engine.call("waiting_events")

    assert [row["run_id"] for row in rows] == [first, second]
    asked = rows[0]
    assert (asked["key"], asked["step"], asked["event"]) == ("order-7", "ok", "approval")
    assert (asked["form"], asked["by"]) == (FORM, ["ann"])
    assert asked["since"] == "2036-01-01T12:00:00+00:00"
    assert asked["until"] == "2036-01-01T13:30:00+00:00"
    assert asked["remind_at"] == "2036-01-01T13:00:00+00:00"
    assert (rows[1]["form"], rows[1]["by"], rows[1]["remind_at"]) == (None, None, None)
    engine.now("2036-01-01 13:10:00Z")
    assert engine.call("waiting_events", 1)[0]["remind_at"] is None  # it times out before


VERSIONS = """
set session_replication_role = replica;
insert into pgflow.flows (flow_slug) select 'old__' || g from generate_series(1, 10000) g;
insert into pgflow.steps (flow_slug, step_slug, action, spec)
select f.flow_slug, 'ok', 'wait', '{"wait": {"event": "x"}}' from pgflow.flows f
where f.flow_slug like 'old%';
set session_replication_role = origin"""


def test_a_list_of_what_waits_reads_live_runs(engine: Engine) -> None:
    """Beside versions that nothing runs any more, and runs that have ended: by their keys."""
    ask(engine)
    slug = engine.one("select flow_slug from pgflow.definitions")
    runs = [engine.start("flow") for _ in range(20)]
    meter = Meter(engine)
    meter.call("alone", "waiting_events")
    engine.db.execute(VERSIONS.encode())
    complete_runs(engine, slug, 20_000)

    for statement in (b"select", b"analyze"):
        engine.db.execute(statement)
        rows = meter.call("crowded", "waiting_events")
        cost = meter.costs["crowded"]
        assert (cost.scans, cost.rows <= 5 * len(runs), cost.pages < 1000) == (0, True, True), cost
        assert {row["run_id"] for row in rows} == set(runs)


def test_reminders_number_alike_however_late_they_are(engine: Engine) -> None:
    """A model: the numbers told are those of the intervals in which somebody looked."""
    listen(engine, status=["waiting"])
    ask(engine, remind=HOUR)
    chance = random.Random(7)
    engine.now(NOON)
    engine.start("flow")

    looked, minute = {0}, 0
    wind(engine)
    for _ in range(12):
        minute += chance.randrange(1, 150)
        moment = datetime.fromisoformat(NOON) + timedelta(minutes=minute)
        engine.now(moment.isoformat())
        wind(engine)
        looked.add(minute // 60)

    assert [one["reminder"] for one in told(engine)] == sorted(looked)
