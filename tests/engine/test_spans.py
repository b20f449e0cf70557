"""The spans of runs and steps, from SQL: each once, whoever ends them; ids follow from rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import a_child, a_step, a_wait, done

if TYPE_CHECKING:
    from tests.engine.driver import Engine

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def start(engine: Engine, flow: str, trace: str | None = TRACE) -> str:
    """Start a traced run; its id."""
    reply = engine.call("start_run", flow, "{}", None, None, None, trace)
    return str(reply["run_id"])


def spans(engine: Engine) -> dict[str, Any]:
    """What is to be exported now, by name."""
    rows = engine.call("take_spans", engine.worker, "0 s")
    assert len({row["span"] for row in rows}) == len(rows)
    return {row["name"]: row for row in rows}


def test_each_span_is_given_once(engine: Engine) -> None:
    """A step when it has ended, the run last; a skipped step never began and has none."""
    engine.now("2100-01-01 12:00:00Z")
    skipped = a_step("a", if_={"ast": ["lit", False], "paths": []})
    engine.deploy("flow", {"a": a_step(), "b": a_step("a"), "c": skipped})
    start(engine, "flow")
    (task,) = engine.claim("flow")
    before = spans(engine)
    engine.now("2100-01-01 12:00:05Z")
    engine.report(done(task))
    first, again = spans(engine), spans(engine)
    engine.work("flow")
    last = spans(engine)

    assert (before, again) == ({}, {})
    assert set(first) == {"flow/a"}
    assert first["flow/a"]["ended"] - first["flow/a"]["began"] == 5_000_000
    assert set(last) == {"flow/b", "flow"}
    assert last["flow"]["parent"] == TRACE[36:52]
    assert last["flow/b"]["parent"] == first["flow/a"]["parent"] == last["flow"]["span"]
    assert engine.one("select count(*) from pgflow.traces") == 0


def test_a_claim_carries_the_trace_of_its_step(engine: Engine) -> None:
    """Only where the run is traced: others are not longer by a byte."""
    engine.deploy("flow", {"a": a_step()})
    runs = {start(engine, "flow"): True, start(engine, "flow", None): False}
    contexts = engine.turn(queue="flow")["contexts"]
    for context in contexts.values():
        engine.one("select 1")
        assert ("trace" in context) is runs[context["run"]["id"]]
    engine.db.execute("select pgflow.cancel_run(run_id) from pgflow.runs")
    ended = engine.call("take_spans", engine.worker, "0 s")

    (step,) = [row for row in ended if row["step"] == "a"]
    (trace,) = [context["trace"] for context in contexts.values() if "trace" in context]
    assert trace == f"00-{step['trace']}-{step['span']}-01"


def test_ends_by_sql_alone_have_spans(engine: Engine) -> None:
    """A cancel, with no worker that knows of the run."""
    engine.deploy("flow", {"a": a_wait(wait={"event": "x", "timeout": 60_000})})
    run = start(engine, "flow")
    engine.call("cancel_run", run, "enough")

    ended = spans(engine)

    assert {name: row["status"] for name, row in ended.items()} == {
        "flow": "cancelled",
        "flow/a": "cancelled",
    }


def test_a_child_run_lies_in_the_step_that_started_it(engine: Engine) -> None:
    """In the same trace; a failure has its type and no message."""
    engine.deploy("child", {"a": a_step(retry={"max_attempts": 1})})
    engine.deploy("parent", {"c": a_child("child")})
    start(engine, "parent")
    engine.work("child", broken=["a"])
    engine.work("parent")
    ended = spans(engine)

    assert ended["child"]["parent"] == ended["parent/c"]["span"]
    assert {row["trace"] for row in ended.values()} == {TRACE[3:35]}
    assert ended["child/a"]["error"] is not None
    assert "broke" not in str(ended)


def test_a_pause_leaves_a_run_to_who_has_looked(engine: Engine) -> None:
    """So that workers share the looking."""
    engine.now("2100-01-01 12:00:00Z")
    engine.deploy("flow", {"a": a_step()})
    start(engine, "flow")
    engine.call("take_spans", engine.worker, "1 s")
    engine.work("flow")
    soon = engine.call("take_spans", engine.worker, "1 s")
    engine.now("2100-01-01 12:00:01Z")

    assert soon == []
    assert len(engine.call("take_spans", engine.worker, "1 s")) == 2


@pytest.mark.parametrize("flags", ["00", "02", "0e"])
def test_a_trace_that_is_not_recorded_is_none(engine: Engine, flags: str) -> None:
    """The caller has decided so."""
    engine.deploy("flow", {"a": a_step()})
    start(engine, "flow", TRACE[:-2] + flags)

    assert engine.one("select count(trace) from pgflow.runs") == 0
    assert engine.one("select count(*) from pgflow.traces") == 0


def test_a_trace_that_is_none_is_refused(engine: Engine) -> None:
    """With its form; the clients send none."""
    engine.deploy("flow", {"a": a_step()})

    with pytest.raises(psycopg.Error, match="a trace is a traceparent"):
        start(engine, "flow", "hello")


def test_a_retry_has_spans_of_its_own(engine: Engine) -> None:
    """Of the run and of what runs again, in the same trace; what was kept is not sent twice."""
    engine.now("2100-01-01 12:00:00Z")
    engine.deploy("flow", {"a": a_step(), "b": a_step("a", retry={"max_attempts": 1})})
    run = start(engine, "flow")
    engine.work("flow", broken=["b"])
    first = spans(engine)
    engine.now("2100-01-01 13:00:00Z")
    engine.call("retry_run", run)
    (context,) = engine.turn(queue="flow")["contexts"].values()
    engine.call("cancel_run", run)
    second = spans(engine)

    assert set(first) == {"flow", "flow/a", "flow/b"}
    assert set(second) == {"flow", "flow/b"}
    assert {row["span"] for row in first.values()}.isdisjoint(r["span"] for r in second.values())
    assert second["flow/b"]["parent"] == second["flow"]["span"]
    assert context["trace"][36:52] == second["flow/b"]["span"]
    assert second["flow"]["began"] - first["flow"]["began"] == 3_600_000_000


def test_a_retry_before_anybody_has_looked_loses_no_step(engine: Engine) -> None:
    """The spans of steps that were kept are sent with those of the retry."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a", retry={"max_attempts": 1})})
    run = start(engine, "flow")
    engine.work("flow", broken=["b"])
    engine.call("retry_run", run)
    engine.work("flow")

    assert set(spans(engine)) == {"flow", "flow/a", "flow/b"}
