"""Decisions that fill in a form, and that certain people make."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.asking import FORM, ask, decide
from tests.engine.driver import a_wait, done
from tests.engine.listeners import wind
from tests.engine.test_races import into

if TYPE_CHECKING:
    from tests.engine.driver import Engine


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


@pytest.mark.parametrize("reject", [True, False])
def test_a_decision_after_an_early_event_is_refused(engine: Engine, *, reject: bool) -> None:
    """The event stands, so nothing says that the decision was applied."""
    ask(engine, "flow", "a")
    run = engine.start("flow")
    engine.call("send_event", run, "approval", "5", "bob")

    with pytest.raises(psycopg.Error, match='event "approval" from bob came before') as error:
        decide(engine, run, reject=reject)
    engine.work("flow")

    assert error.value.sqlstate == "PF005"
    assert engine.one("select count(*) from pgflow.audit where action <> 'deploy'") == 0
    assert engine.snapshot(run)["steps"][1]["output"] == 5


def test_an_event_does_not_override_an_early_rejection(engine: Engine) -> None:
    """The step is reached and its timer is due, but has not run yet: the rejection stands."""
    ask(engine, "flow", "a")
    run = engine.start("flow")
    decide(engine, run, reject=True)
    (a,) = engine.claim("flow")
    engine.report(done(a))

    reached = engine.statuses(run)["ok"]
    reply = engine.call("send_event", run, "approval", "{}")
    wind(engine)

    assert reached == "waiting"
    assert (reply["steps"], reply["stored"]) == ([], True)
    assert engine.result(run)[2] == "Rejected"


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
