"""Flows that hear the ends of other runs, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.engine.driver import Engine, a_step, done, failed

if TYPE_CHECKING:
    from collections.abc import Iterable

ORDER = {"work": a_step()}
TIMERS = "pgmq.q_pgflow__timers"


def listen(
    engine: Engine,
    name: str = "alert",
    flows: Iterable[str] = ("*",),
    status: Iterable[str] = ("failed",),
    **keys: Any,
) -> None:
    """Deploy a flow that hears these ends."""
    after = {"flows": list(flows), "status": list(status)}
    engine.deploy(name, {"tell": a_step(handler="app.tell")}, after=after, **keys)


def end(engine: Engine, flow: str, status: str, run_input: object = None) -> str:
    """Let a run of a flow with one step end like this; its timers are left to others."""
    run = engine.start(flow, run_input)
    if status == "cancelled":
        engine.call("cancel_run", run, "not wanted")
    else:
        (task,) = engine.claim(flow)
        engine.report(failed(task, "fatal") if status == "failed" else done(task, "work"))
    assert engine.status(run) == status
    return run


def wind(engine: Engine) -> None:
    """Run all timers that are due."""
    while "timers" in engine.call("wind", engine.worker):
        pass


def heard(engine: Engine, name: str) -> list[Any]:
    """Who hears each version of a flow."""
    rows = engine.db.execute(
        "select heard from pgflow.flows where queue_name = %s order by created_at", [name]
    )
    return [row[0] for row in rows]


def told(engine: Engine, name: str = "alert") -> list[dict[str, Any]]:
    """What the runs of a listener were given, in the order of their starts."""
    rows = engine.db.execute(
        "select input from pgflow.runs where flow_name = %s order by started_at, run_key", [name]
    )
    return [row[0] for row in rows]
