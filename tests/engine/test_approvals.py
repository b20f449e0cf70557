"""Decisions that fill in a form, that certain people make, and that others are told of."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgflow_yaml.language import listening
from pgflow_yaml.language.inputs import apply_defaults_and_check
from tests.engine.compiled import Compiled
from tests.engine.driver import a_child, a_step, a_wait
from tests.engine.listeners import listen, told, wind
from tests.engine.test_races import into

if TYPE_CHECKING:
    from tests.engine.driver import Engine

NOON = "2036-01-01 12:00:00Z"
FORM = {
    "amount": {"type": "integer", "minimum": 1},
    "size": {"enum": ["s", "l"], "default": "s"},
}
HOUR = 3_600_000


def ask(engine: Engine, name: str = "flow", *before: str, **wait: Any) -> None:
    """Deploy a flow that asks for a decision, and goes on with it."""
    steps = {slug: a_step() for slug in before}
    steps["ok"] = a_wait(*before, wait={"event": "approval"} | wait)
    engine.deploy(name, {**steps, "pay": a_step("ok")})


def decide(
    engine: Engine,
    run: str,
    data: object = None,
    *,
    by: str = "ann",
    groups: list[str] | None = None,
    reject: bool = False,
) -> dict[str, Any]:
    """Decide about the step `ok`."""
    text = None if data is None else json.dumps(data)
    function = "reject_step" if reject else "approve_step"
    reply: dict[str, Any] = engine.call(function, run, "ok", "fine", by, None, text, groups)
    return reply


def problems(error: pytest.ExceptionInfo[psycopg.Error]) -> dict[str, str]:
    """The sentence of each field that was refused."""
    found = json.loads(error.value.diag.message_detail or "[]")
    return {problem["path"]: problem["message"] for problem in found}


def test_the_answer_is_in_the_output_with_its_defaults(engine: Engine) -> None:
    """Beside who decided and the comment; the run, the audit and the snapshot keep it."""
    ask(engine, form=FORM)
    run = engine.start("flow")

    reply = decide(engine, run, {"amount": 5})

    assert reply["applied"]
    step = engine.snapshot(run)["steps"][0]
    answer = {"amount": 5, "size": "s"}
    assert step["output"] == {"by": "ann", "comment": "fine", "data": answer}
    assert step["answer"]["data"] == answer
    assert engine.one("select details from pgflow.audit where action = 'approve'") == {
        "step": "ok", "comment": "fine", "data": answer,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        (None, {"amount": "is required"}),
        ({}, {"amount": "is required"}),
        ({"amount": 0}, {"amount": "must be at least 1"}),
        ({"amount": "5"}, {"amount": "must be integer, not string"}),
        ({"amount": 1, "size": "m"}, {"size": 'must be one of ["s", "l"]'}),
        ({"amount": 1, "more": 1}, {"more": 'is not a field of the form of step "ok"'}),
        ([], {"": "must be an object, not array"}),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    engine: Engine, data: object, refused: dict[str, str]
) -> None:
    """Nothing is decided: the next answer may be right."""
    ask(engine, form=FORM)
    run = engine.start("flow")

    with pytest.raises(psycopg.Error, match='the answer to step "ok" is refused') as error:
        decide(engine, run, data)

    assert error.value.sqlstate == "PF002"
    assert problems(error) == refused
    assert engine.one("select count(*) from pgflow.events") == 0
    assert decide(engine, run, {"amount": 1})["applied"]


def test_who_rejects_fills_in_what_they_like(engine: Engine) -> None:
    """Nothing is required, and what is given must fit."""
    ask(engine, form=FORM)
    run = engine.start("flow")

    with pytest.raises(psycopg.Error) as error:
        decide(engine, run, {"amount": 0}, reject=True)
    assert problems(error) == {"amount": "must be at least 1"}
    assert decide(engine, run, {"size": "l"}, reject=True)["status"] == "rejected"

    shown = engine.snapshot(run)
    assert shown["run"]["error"]["type"] == "Rejected"
    assert shown["steps"][0]["answer"]["data"] == {"size": "l"}


def test_a_step_without_a_form_takes_no_data(engine: Engine) -> None:
    """Its output is as it always was."""
    ask(engine)
    run = engine.start("flow")

    with pytest.raises(psycopg.Error) as error:
        decide(engine, run, {"amount": 1})
    assert problems(error) == {"data": "is not taken: the step has no form"}

    decide(engine, run)
    assert engine.snapshot(run)["steps"][0]["output"] == {"by": "ann", "comment": "fine"}


def test_only_those_named_decide(engine: Engine) -> None:
    """By their name, or by a group that their caller gives."""
    ask(engine, by=["ann", "finance"])
    first, second = engine.start("flow"), engine.start("flow")

    for by, groups in (("bob", None), ("bob", ["sales"]), ("Ann", []), ("bob", [None])):
        for reject in (True, False):
            with pytest.raises(psycopg.Error) as error:
                decide(engine, first, by=by, groups=groups, reject=reject)  # type: ignore[arg-type]
            assert error.value.sqlstate == "PF005"
            assert error.value.diag.message_primary == (
                f'step "ok" is for ann or finance to decide, not for {by}'
            )
    assert decide(engine, first, by="ann")["applied"]
    assert decide(engine, second, by="bob", groups=["sales", "finance"])["applied"]


def test_an_event_is_no_decision(engine: Engine) -> None:
    """Neither one that comes, nor one that came before the step had a form."""
    ask(engine, form=FORM)
    engine.deploy("both", {
        "ok": a_wait(wait={"event": "approval", "by": ["ann"]}),
        "machine": a_wait(wait={"event": "approval"}),
    })  # fmt: skip
    run, both = engine.start("flow"), engine.start("both")

    with pytest.raises(psycopg.Error, match='step "ok" asks for a decision, which no event is'):
        engine.call("send_event", run, "approval", '{"amount": 1}')
    reply = engine.call("send_event", both, "approval", "{}")

    assert reply["steps"] == ["machine"]
    assert engine.statuses(both) == {"ok": "waiting", "machine": "completed"}


def test_an_early_event_is_no_decision_either(engine: Engine) -> None:
    """It was sent for another step of this name, before this one was reached."""
    engine.deploy("flow", {
        "machine": a_wait(wait={"event": "approval"}),
        "ok": a_wait("machine", wait={"event": "approval", "by": ["ann"]}),
    })  # fmt: skip
    run = engine.start("flow")

    engine.call("send_event", run, "approval", "{}")

    assert engine.statuses(run) == {"machine": "completed", "ok": "waiting"}


def test_an_early_answer_is_checked_and_kept(engine: Engine) -> None:
    """The step completes with it when it is reached."""
    ask(engine, "flow", "a", form=FORM, by=["ann"])
    run = engine.start("flow")

    with pytest.raises(psycopg.Error, match="is refused"):
        decide(engine, run, {"amount": "x"})
    decide(engine, run, {"amount": 7})
    engine.work("flow")

    assert engine.snapshot(run)["steps"][1]["output"]["data"] == {"amount": 7, "size": "s"}


@pytest.mark.parametrize("first_rejects", [True, False])
def test_of_two_answers_at_once_the_first_stands(
    engine: Engine, other: Engine, *, first_rejects: bool
) -> None:
    """The second is told so, and not that its own answer does not fit."""
    ask(engine, form=FORM, by=["ann"])
    run = engine.start("flow")

    reply = into(
        engine, lambda: decide(engine, run, {"amount": 1}, reject=first_rejects),
        other, lambda: decide(other, run, {"amount": 0}, by="bob", reject=not first_rejects),
    )  # fmt: skip

    assert (reply["applied"], reply["by"]) == (False, "ann")
    assert reply["status"] == ("rejected" if first_rejects else "approved")


def test_a_run_that_has_ended_takes_no_answer(engine: Engine) -> None:
    """One sentence, with its status."""
    ask(engine, form=FORM)
    run = engine.start("flow")
    engine.call("cancel_run", run, "not wanted")

    with pytest.raises(psycopg.Error, match="waits no more: it is cancelled"):
        decide(engine, run, {"amount": 1})


def test_a_decision_that_is_retried_is_asked_for_again(engine: Engine) -> None:
    """The old answer is gone from the run, and stays in the audit."""
    ask(engine, form=FORM)
    run = engine.start("flow")
    decide(engine, run, {"amount": 1})
    engine.work("flow")

    engine.call("retry_run", run, None, ["ok"])
    asked = engine.snapshot(run)["steps"][0]
    decide(engine, run, {"amount": 2}, by="bob")
    engine.work("flow")

    assert (asked["status"], asked["answer"]) == ("waiting", None)
    assert asked["waits"]["form"] == FORM
    assert engine.snapshot(run)["steps"][0]["output"]["data"]["amount"] == 2
    assert engine.one("select count(*) from pgflow.audit where action = 'approve'") == 2


@pytest.mark.parametrize(
    ("wait", "sentence"),
    [
        ({"form": {"a": {"type": "text"}}}, 'form of step "ok": input.a: "type"'),
        ({"form": {"a b": {}}}, 'form of step "ok": input field name'),
        ({"form": []}, 'form of step "ok": "input" must be an object'),
        ({"by": []}, 'step "ok": by must be a list of names'),
        ({"by": "ann"}, 'step "ok": by must be a list of names'),
        ({"by": [1]}, 'step "ok": by must be a list of names'),
        ({"remind": 0}, 'step "ok": wait.remind must be a whole number'),
        ({"remind": "4h"}, 'step "ok": wait.remind must be a whole number'),
    ],
)
def test_a_definition_that_asks_for_nonsense_is_refused(
    engine: Engine, wait: dict[str, Any], sentence: str
) -> None:
    """The compiler writes none of these; a caller from SQL may."""
    with pytest.raises(psycopg.Error, match="is refused") as error:
        ask(engine, **wait)
    assert error.value.sqlstate == "PF004"
    assert sentence in str(error.value)


def test_a_timed_wait_asks_nobody(engine: Engine) -> None:
    """Of an event alone there is a decision."""
    with pytest.raises(psycopg.Error, match="form, by and remind of a wait need an event"):
        engine.deploy("flow", {"ok": a_wait(wait={"for": 1000, "by": ["ann"]})})


# Telling


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
    """A flow that waits and is started by waits does not start itself through others."""
    for name, heard in (("one", "two"), ("two", "one")):
        engine.deploy(name, {"ok": a_wait(wait={"event": "x"})},
                      after={"flows": [heard], "status": ["waiting"]})  # fmt: skip
    engine.call("start_run", "one", "{}")

    wind(engine)

    assert engine.one("select count(*) from pgflow.runs") == 5


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
