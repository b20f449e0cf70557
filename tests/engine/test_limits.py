"""Limits of runs: they wait at the gate of their flow, and are let in, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engine.driver import a_step, done

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def waits(engine: Engine, run: str) -> bool:
    """Whether a run has not begun."""
    return bool(engine.one("select waits_at is not null from pgflow.runs where run_id = %s", run))


def test_one_run_goes_on_at_once_and_the_next_begins_when_it_has_ended(engine: Engine) -> None:
    """A limit of 1 lets the oldest run in; the others have no step until it has ended."""
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 1})
    runs = [engine.start("ship") for _ in range(3)]
    for nr, run in enumerate(runs):
        [task] = engine.claim("ship")
        assert task["run"] == run
        assert [waits(engine, later) for later in runs] == [i > nr for i in range(3)]
        assert engine.report(done(task)) == ["applied"]
    assert engine.claim("ship") == []
    assert engine.one("select count(*) from pgflow.slots") == 0
