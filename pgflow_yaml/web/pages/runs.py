"""The page of all runs: the address is the filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import lookup
from pgflow_yaml.runs.listed import run_status, run_took, run_trouble
from pgflow_yaml.text import labels_text
from pgflow_yaml.web.asked import Moved
from pgflow_yaml.web.live.watcher import list_name
from pgflow_yaml.web.pages.filters import STATUSES, address, chosen, command, filters, place
from pgflow_yaml.web.pages.of_flow import strip_rows
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.client.views import RunPage
    from pgflow_yaml.web.asked import Asked

SHOWN = 50
_STRIPS = 6
_LONGEST = 200


def _page(asked: Asked) -> RunPage:
    return asked.client.page_runs(place=place(asked), limit=SHOWN, **asked.once(filters))


def _json(asked: Asked) -> object:
    return [run.as_json() for run in asked.once(_page).runs]


def _json_next(asked: Asked) -> str:
    following = asked.once(_page).next
    return address("/runs.json", [*chosen(asked), *following.items()]) if following else ""


def _read(asked: Asked) -> Mapping[str, Any]:
    if text := asked.query.get("find"):
        raise Moved(f"/runs/{lookup.run_id(asked.client, text.strip()[:_LONGEST])}")
    asked.once(filters)
    given = chosen(asked)
    chips = [
        (name, value, asked.url(address("/", [pair for pair in given if pair != (name, value)])))
        for name, value in given
    ]
    return {
        "chips": chips,
        "query": asked.query,
        "labels": [value for name, value in given if name == "label"] or [""],
        "rare": any(name in ("version", "older", "schedule", "parent", "all") for name, _ in given),
        "statuses": STATUSES,
        "command": command(given),
    }


def _strips(asked: Asked) -> Mapping[str, Any]:
    """Return how the flows fare: the one of the filter, or those that run or have failed first."""
    flow = asked.once(filters).get("flow")
    if place(asked) or (chosen(asked) and not flow):
        return {"rows": [], "more": 0}
    rows = [row for row in strip_rows(asked, None if flow is None else [flow]) if row["last"]]
    rows.sort(key=lambda row: (not row["live"], row["last"][-1]["status"] != "failed"))
    return {"rows": rows[:_STRIPS], "more": max(0, len(rows) - _STRIPS)}


def _list(asked: Asked) -> Mapping[str, Any]:
    page = asked.once(_page)
    given = chosen(asked)
    rows = [
        {
            "run": run,
            "status": run_status(run),
            "took": run_took(run),
            "trouble": run_trouble(run),
            "labels": labels_text(run["labels"]),  # type: ignore[arg-type]
        }
        for run in (found.as_json() for found in page.runs)
    ]
    older = address("/", [*given, *page.next.items()]) if page.next else ""
    status = asked.query.get("status")
    return {
        "rows": rows,
        "filtered": bool(given),
        "older": older,
        "looked": page.looked,
        "newest": address("/", given) if place(asked) else "",
        "cancel": address("/bulk/cancel", given) if status in (None, "", *STATUSES[:2]) else "",
        "retry": address("/bulk/retry", given) if status in ("failed", "cancelled") else "",
    }


def _watched(asked: Asked) -> str:
    return "" if place(asked) else list_name(chosen(asked))


PAGE = Page(
    path="/",
    name="runs",
    nav="Runs",
    read=_read,
    json=_json,
    json_path="/runs.json",
    json_next=_json_next,
    parts={
        "strips": Part(read=_strips, watch=_watched),
        "list": Part(read=_list, watch=_watched),
    },
)
