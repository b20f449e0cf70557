"""Limits of size at the doors of the database, for callers that are not ours too (R-9)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.engine.driver import a_child, a_step, a_wait, done, failed, literal

if TYPE_CHECKING:
    from tests.engine.driver import Engine
    from tests.engine.pgflow_door import Door

FULL = 2_097_152 - 2  # a text of so many characters and two quotes are 2 MiB
LONGEST = 16_384
LONG, CUT = "é" * 20_000, "é" * (LONGEST - 1) + "…"


def test_a_turn_refuses_an_output_of_more_than_two_mebibytes(engine: Engine) -> None:
    """As an error of content, so that its worker reports a failure; one at the limit is taken."""
    engine.deploy("flow", {"a": a_step(), "b": a_step()})
    run = engine.start("flow")
    first, second = engine.claim("flow")

    with pytest.raises(psycopg.errors.ProgramLimitExceeded) as refused:
        engine.report(done(first, "x"), done(second, "x" * (FULL + 1)))

    assert refused.value.diag.message_primary == (
        'an output of step "b" has more than 2 MiB of JSON: return a reference'
    )
    assert engine.statuses(run) == {"a": "started", "b": "started"}
    assert engine.report(done(first, "x" * FULL)) == ["applied"]


@pytest.mark.parametrize("size", [FULL // 2 - 50, FULL // 2 + 50])
def test_the_output_of_a_child_run_is_that_of_one_step(engine: Engine, size: int) -> None:
    """It has no limit in its own run, which holds several; the step that ran it fails for good."""
    engine.deploy("child", {"a": a_step(), "b": a_step()})
    retry = {"max_attempts": 2, "base_delay": 0}
    engine.deploy("parent", {"sub": a_child("child", retry=retry)})
    run = engine.start("parent")
    engine.claim("nobody")

    assert engine.work("child", lambda _: "x" * size) == ["a", "b"]
    assert engine.work("child") == []

    children = engine.snapshot(run)["steps"][0]["children"]
    assert [engine.status(child) for child in children] == ["completed"]
    if size < FULL // 2:
        assert engine.status(run) == "completed"
    else:
        assert engine.snapshot(run)["run"]["error"] == {
            "type": "OutputTooLarge", "step": "sub", "index": 0, "attempts": 1,
            "message": f"the output of child {children[0]} has more than 2 MiB of JSON: "
                       "let its `output` return a reference",
        }  # fmt: skip


def test_the_outputs_of_child_runs_count_in_their_map(engine: Engine) -> None:
    """As those of handlers do."""
    engine.deploy("child", {"a": a_step()})
    engine.deploy("parent", {"sub": a_child("child", map=literal([{}, {}]))})
    run = engine.start("parent")
    engine.claim("nobody")
    engine.db.execute(
        "update pgflow.step_states set output_bytes = 254000000 where run_id = %s", [run]
    )

    engine.work("child", lambda _: "x" * 1_500_000)
    engine.work("child")

    assert engine.snapshot(run)["run"]["error"]["message"] == (
        "the outputs of sub are 257.0 MB after 2 of 2 tasks; "
        "the limit of all outputs of a map is 256 MB: return references"
    )


def test_an_output_is_measured_as_it_is_written(engine: Engine) -> None:
    """Not as the database stores it: escapes and exponents take little room there."""
    engine.deploy("flow", {"a": a_step()})
    engine.start("flow")
    (task,) = engine.claim("flow")

    for output in ("\x01" * 400_000, [1e308] * 8_000):
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            engine.report(done(task, output))
    assert engine.report(done(task, [[0]] * 524_000)) == ["applied"]


def test_the_texts_of_an_error_are_cut(engine: Engine) -> None:
    """Never refused: a failure must be told. A text at the limit stays as it is."""
    engine.deploy("flow", {"a": a_step(), "b": a_step()}, fail_fast=False)
    run = engine.start("flow")
    first, second = engine.claim("flow")
    error = {"type": "T" * 300, "message": LONG, "trace": LONG, "more": LONG}
    whole = "x" * LONGEST

    verdicts = engine.report(
        failed(first, "fatal", error=error),
        failed(second, "fatal", error={"type": "T", "message": whole, "trace": whole}),
    )

    assert verdicts == ["applied", "applied"]
    rows = engine.db.execute(
        """select e.type, e.message, e.trace, t.error_message
        from pgflow.task_errors e join pgflow.step_tasks t using (run_id, step_slug, task_index)
        order by step_slug"""
    ).fetchall()
    assert rows == [("T" * 200, CUT, CUT, CUT), ("T", whole, whole, whole)]
    steps = engine.snapshot(run)["steps"]
    assert [step["error"]["message"] for step in steps] == [CUT, whole]


def test_a_failed_run_and_a_reason_are_cut(engine: Engine) -> None:
    """In the run and in the audit."""
    engine.deploy("flow", {"a": a_step(), "w": a_wait("a", wait={"event": "go"})})
    failing, cancelled, rejected = (engine.start("flow") for _ in range(3))
    engine.claim("flow")

    engine.call("fail_run", failing, json.dumps({"type": "T", "message": LONG, "step": "a"}))
    engine.call("cancel_run", cancelled, LONG)
    engine.call("reject_step", rejected, "w", LONG)

    shown = [engine.snapshot(run)["run"]["error"] for run in (failing, cancelled)]
    assert shown == [
        {"type": "T", "message": CUT, "step": "a"},
        {"type": "Cancelled", "message": CUT},
    ]
    assert engine.one("select max(length(details::text)) from pgflow.audit") < 2 * LONGEST


def test_an_event_is_measured_like_an_input(engine: Engine) -> None:
    """As the client writes it: the spaces that jsonb adds do not count."""
    engine.deploy("flow", {"w": a_wait(wait={"event": "go"})})
    run = engine.start("flow")

    with pytest.raises(psycopg.Error, match='event "go" is refused'):
        engine.call("send_event", run, "go", json.dumps("x" * (FULL + 1)))
    assert engine.call("send_event", run, "go", json.dumps([[0]] * 524_000))["steps"] == ["w"]


def test_the_doors_of_pgflow_have_the_same_limits(door: Door) -> None:
    """Input, output and error; what is within them passes."""
    slug = door.flow("f", a={"base_delay": 0})
    with pytest.raises(psycopg.Error, match='the input of flow "f" is refused') as refused:
        door.start(slug, "x" * (FULL + 1))
    assert refused.value.sqlstate == "PF002"
    door.start(slug, "x" * FULL)
    (task,) = door.claim(slug)

    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match='an output of step "a"'):
        door.complete(task, "x" * (FULL + 1))
    assert door.fail(task, LONG)["error_message"] == CUT
    (task,) = door.claim(slug)
    assert door.complete(task, "x" * FULL)["status"] == "completed"
