"""Facts about flows for several pages: their last runs as a strip, and when they run next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pgflow_yaml.client import lookup
from pgflow_yaml.runs.listed import next_tick, run_counts
from pgflow_yaml.web.pictures.strip import strip
from pgflow_yaml.web.rendering import time_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pgflow_yaml.client import FlowSummary
    from pgflow_yaml.client.schedules import ScheduleSummary
    from pgflow_yaml.project.versions import Comparison
    from pgflow_yaml.web.asked import Asked

SIGNS: Mapping[str, str] = {"added": "+", "removed": "−", "renamed": "~", "changed": "~"}
"""The mark of each kind of change between two versions."""


def flows(asked: Asked) -> Sequence[FlowSummary]:
    """Return the flows of the database, by name."""
    return asked.client.list_flows(counts=False)


def flow(asked: Asked) -> FlowSummary:
    """Return the flow in the path; raises NotFound with a similar name."""
    name, known = asked.params["flow"], asked.once(flows)
    lookup.must_be_flow(known, name)
    return next(summary for summary in known if summary.name == name)


def schedules(asked: Asked) -> Sequence[ScheduleSummary]:
    """Return the schedules of all flows."""
    return asked.client.list_schedules()


def strip_rows(asked: Asked, names: Iterable[str] | None) -> list[dict[str, Any]]:
    """Return the recent results of these flows, or of all flows, with their pictures."""
    ticks = _next_ticks(asked.once(schedules))
    rows = []
    for found in asked.client.flow_strips(names):
        last: Any = found.last
        picture = strip(last, flow=found.flow, link=asked.url("/runs/"))
        rows.append(
            {
                "flow": found.flow,
                "last": last,
                "picture": Markup(picture),  # noqa: S704 (drawn by us, escaped there)
                "median": found.median,
                "p95": found.p95,
                "live": found.live,
                "day": run_counts({**found.day, "started": 0}),
                "next": ticks.get(found.flow, ""),
            }
        )
    return rows


def changes(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the differences between two versions, each with its mark."""
    return [
        {
            "sign": SIGNS[change.kind],
            "kind": change.kind,
            "text": change.text,
            "label": change.label,
            "before": change.before,
            "after": change.after,
        }
        for change in comparison.changes
    ]


def _next_ticks(every: Sequence[ScheduleSummary]) -> Mapping[str, str]:
    """Return the next tick of each flow that has a schedule, or why it has none."""
    found: dict[str, Any] = {}
    for schedule in every:
        row = schedule.as_json()
        before = found.get(schedule.flow)
        if before is None or str(row["next_at"] or "~") < str(before["next_at"] or "~"):
            found[schedule.flow] = row
    return {name: next_tick(row, time_words) for name, row in found.items()}
