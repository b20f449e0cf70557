"""Flows that start by themselves, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.engine.driver import Engine, a_step

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON = "2036-01-01 12:00:00Z"
MINUTE = {"name": "every 1m", "every": 60_000}
WORK = {"work": a_step()}


def at(minute: float) -> str:
    """A time so many minutes after noon."""
    seconds = round(minute * 60)
    return f"2036-01-01T{12 + seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}+00:00"


def plan(engine: Engine, *schedules: dict[str, Any], flow: str = "report", **more: Any) -> None:
    """Deploy a flow with these schedules."""
    engine.deploy(flow, WORK, schedule=list(schedules), **more)


def due(engine: Engine) -> list[dict[str, Any]]:
    """The schedules whose message a worker reads now."""
    found: list[dict[str, Any]] = engine.call("wind", engine.worker).get("schedules", [])
    return found


def fire(
    engine: Engine,
    seen: str | None,
    ticks: Sequence[str],
    next_at: str | None,
    *,
    name: str = "every 1m",
    missed: int = 0,
    problem: str | None = None,
) -> dict[str, Any]:
    """Fire a schedule of `report` as a worker does."""
    reply: dict[str, Any] = engine.one(
        "select pgflow.fire_schedule('report', %s, %s, %s::timestamptz[], %s, %s, %s)",
        name, seen, list(ticks), missed, next_at, problem,
    )  # fmt: skip
    return reply


def begin(engine: Engine, *schedules: dict[str, Any], **more: Any) -> None:
    """Deploy `report` at noon, and let a worker reckon that its first tick is a minute later."""
    engine.now(NOON)
    plan(engine, *(schedules or (MINUTE,)), **more)
    for found in due(engine):
        assert fire(engine, None, [], at(1), name=found["name"])["fired"] == 0


def row(engine: Engine, column: str, name: str = "every 1m") -> Any:
    """One column of a schedule."""
    return engine.one(f"select {column} from pgflow.schedules where name = %s", name)


def ticks(engine: Engine) -> list[str]:
    """The ticks that have runs, in their order."""
    rows = engine.db.execute(
        "select to_jsonb(scheduled_at) from pgflow.runs where scheduled_at is not null order by 1"
    )
    return [row[0] for row in rows]
