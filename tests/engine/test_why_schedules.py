"""Reasons of runs that have not begun: for later, or behind others of their schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.runs.why import sentences
from pgflow_yaml.text import moment
from tests.engine.driver import a_step
from tests.engine.timetables import MINUTE, NOON, at, begin, fire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.driver import Engine


def for_later(engine: Engine) -> str:
    engine.now(NOON)
    engine.deploy("flow", {"a": a_step()})
    later = "2036-01-01 15:00:00Z"
    reply = engine.call("start_run", "flow", "{}", None, None, None, None, later)
    return str(reply["run_id"])


def behind_another(engine: Engine) -> str:
    begin(engine, {**MINUTE, "overlap": "queue"})
    for minute in 1, 2:
        fire(engine, at(minute), [at(minute)], at(minute + 1))
        engine.call("wind", engine.worker)
    engine.now("2036-01-01 12:00:00Z")
    return str(engine.one("select last_run from pgflow.schedules"))


def filled(engine: Engine) -> str:
    begin(engine)
    engine.now("2036-01-01 12:10:00Z")
    ticks = [at(1), at(2), at(3)]
    engine.one("select pgflow.backfill_schedule('report', '', %s::timestamptz[])", ticks)
    engine.call("wind", engine.worker)
    return str(engine.one("select run_id from pgflow.runs order by scheduled_at desc limit 1"))


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (for_later, "begins at 2036-01-01T15:00:00.000Z, in 3 h 00 m (`start --at`)"),
        (behind_another, 'waits for run FIRST of its schedule "every 1m" to end'),
        (filled, "waits for 1 earlier run of its backfill (1 at a time)"),
    ],
)
def test_a_run_of_a_schedule_or_for_later_says_why(
    engine: Engine, state: Callable[[Engine], str], sentence: str
) -> None:
    """Under the name `run`: it has no steps yet."""
    run = state(engine)
    first = engine.one("select run_id::text from pgflow.runs order by scheduled_at limit 1")
    told = sentences(engine.call("run_why", run), moment(engine.snapshot(run)["now"]))
    assert told == {"run": sentence.replace("FIRST", first[:8])}
