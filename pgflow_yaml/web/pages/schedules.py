"""The page of the schedules, of all flows or of the one in the address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pgflow_yaml.client import lookup
from pgflow_yaml.runs.listed import next_tick, schedule_note
from pgflow_yaml.web.pages import queries
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.client import ScheduleSummary
    from pgflow_yaml.web.asked import Asked

MOST_TICKS = 100


def _flow(asked: Asked) -> str | None:
    """Return the flow of the address, if there is one; raises NotFound for one that is none."""
    queries.check(asked, ("flow", "next"))
    flow = asked.query.get("flow") or None
    if flow is not None:
        lookup.must_be_flow(asked.client.list_flows(counts=False), flow)
    return flow


def _ticks(asked: Asked) -> int:
    return queries.number(asked, "next", least=1, most=MOST_TICKS) or 0


def _found(asked: Asked) -> Sequence[ScheduleSummary]:
    return asked.client.list_schedules(asked.once(_flow), ticks=asked.once(_ticks))


def _json(asked: Asked) -> object:
    return [each.as_json() for each in asked.once(_found)]


def _read(asked: Asked) -> Mapping[str, Any]:
    flow, ticks = asked.once(_flow), asked.once(_ticks)
    words = ["pgflow-yaml schedules", *([flow] if flow else [])]
    return {
        "flow": flow,
        "ticks": ticks,
        "query": asked.query,
        "command": " ".join([*words, *([f"--next {ticks}"] if ticks else [])]),
    }


def _schedules(asked: Asked) -> Mapping[str, Any]:
    rows = []
    for each in asked.once(_found):
        shown: Mapping[str, Any] = each.as_json()
        rows.append(
            {
                "schedule": shown,
                "next": "" if shown["next_at"] and not shown["paused_at"] else next_tick(shown),
                "note": schedule_note(shown),
                "turn": "/resume" if shown["paused_at"] else "/pause",
                "named": urlencode({"schedule": each.name}),
            }
        )
    return {**asked.once(_read), "rows": rows}


PAGE = Page(
    path="/schedules",
    name="schedules",
    nav="Schedules",
    read=_read,
    json=_json,
    parts={"schedules": Part(read=_schedules)},
)
