"""The run that a tick of a schedule starts, in place of a start with an input."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.language import ticks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Definition

_MOMENT = timedelta(microseconds=1)


class NoTick(PgflowError):
    """No schedule starts a run at this time."""


def scheduled(definition: Definition, at: datetime) -> dict[str, Any]:
    """Return the first schedule of a flow that has a tick at a time; raises NoTick."""
    body: Any = definition.body
    schedules: list[dict[str, Any]] = body.get("schedule", [])
    if not schedules:
        raise NoTick(f'flow "{definition.name}" has no schedule, so that no tick starts it')
    for spec in schedules:
        if ticks.first(spec, at - _MOMENT) == at:
            return spec
    following = min(ticks.first(spec, at) for spec in schedules).astimezone(at.tzinfo)
    raise NoTick(
        f'no schedule of flow "{definition.name}" has a tick at {at.isoformat()}; '
        f"the next one is at {following.isoformat()}"
    )


def fired(store: Store, flow: str, spec: Mapping[str, Any], at: datetime) -> str:
    """Fire a tick as a worker does, and no other one; return the id of its run."""
    name = spec["name"]
    after = ticks.first(spec, at)
    reply = store.fire_schedule(flow, name, None, ticks=[at], next_tick=after)
    store.pause_schedules(flow, name, None)
    if not reply["runs"]:
        raise NoTick(f"the tick starts nothing: {reply.get('problem')}")
    return str(reply["runs"][0])
