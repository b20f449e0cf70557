"""The page of a step with many tasks: the grid for the eye, failed ones first in the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pgflow_yaml.client.reading import run_json
from pgflow_yaml.runs import steps
from pgflow_yaml.runs.run import run_name
from pgflow_yaml.text import elapsed, moment
from pgflow_yaml.web.asked import Moved
from pgflow_yaml.web.pages import queries
from pgflow_yaml.web.pages.filters import address
from pgflow_yaml.web.pages.of_run import run_id
from pgflow_yaml.web.pages.of_step import condition, outline, step, watched, why
from pgflow_yaml.web.pictures.grid import grid
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.client.views import ItemSummary
    from pgflow_yaml.runs.snapshot import StepShape
    from pgflow_yaml.web.asked import Asked

STATUSES = ("failed", "started", "queued", "completed", "cancelled")
ALL = "all"
SHOWN, IN_GRID = 100, 10_000


def _json(asked: Asked) -> object:
    """Return what `show --items` prints; with a filter the items that the page lists."""
    queries.check(asked, ("status", "first"))
    if asked.query:
        return [item.as_json() for item in asked.once(_listed)]
    return run_json(asked.client, run_id(asked), step=asked.params["step"], items=True)


def _read(asked: Asked) -> Mapping[str, Any]:
    queries.check(asked, ("status", "first"))
    _chosen(asked, asked.once(step))
    asked.once(_first)
    run, state = asked.once(outline)["run"], asked.once(step)
    path = f"/runs/{run['id']}/steps/{state['slug']}"
    if not steps.is_wide(state) and state["action"] != "wait":
        raise Moved(f"{path}/0")
    return {
        "run": run,
        "step": state,
        "path": path,
        "name": f"{state['slug']} · {run_name(run)}",
        "condition": asked.once(condition),
        "command": f"pgflow-yaml show {run['id'][:8]} --step {state['slug']} --items",
    }


def _chosen(asked: Asked, state: StepShape) -> str:
    """Return the status of the items to list; failed ones first, if there are some."""
    text = queries.choice(asked, "status", (ALL, *STATUSES))
    return text or ("failed" if state["tasks"]["failed"] else ALL)


def _first(asked: Asked) -> int:
    """Return the index of the first item to list."""
    return queries.number(asked, "first") or 0


def _head(asked: Asked) -> Mapping[str, Any]:
    run, state = asked.once(outline), asked.once(step)
    return {
        **asked.once(_read),
        "tolerated": steps.failed_tasks(state),
        "seconds": steps.seconds(state, moment(run["now"])),
        "goes_on": state["started_at"] if not state["ended_at"] else None,
        # Of a completed step it would be the numbers again, which are above the table.
        "why": "" if state["status"] == "completed" else asked.once(why),
    }


def _grid(asked: Asked) -> Mapping[str, Any]:
    begin = asked.once(_first) // IN_GRID * IN_GRID
    run, state = asked.once(outline)["run"], asked.once(step)
    found = asked.client.step_items(run["id"], state["slug"], first=begin, count=IN_GRID)
    blocks = range(0, found.total, IN_GRID) if found.total > IN_GRID else range(0)
    return {
        **asked.once(_read),
        "picture": Markup(grid(found.items, name="cells") if found.items else ""),  # noqa: S704
        "begin": begin,
        "count": len(found.items) // 2,
        "blocks": [(first, min(first + IN_GRID, found.total) - 1) for first in blocks],
    }


def _json_next(asked: Asked) -> str:
    following = asked.once(_next) if asked.query else None
    if following is None:
        return ""
    pairs = [("status", _chosen(asked, asked.once(step))), ("first", str(following))]
    return address(asked.path, pairs)


def _listed(asked: Asked) -> Sequence[ItemSummary]:
    state = asked.once(step)
    status = _chosen(asked, state)
    return asked.client.list_items(
        asked.once(outline)["run"]["id"],
        state["slug"],
        statuses=None if status == ALL else [status],
        first=asked.once(_first),
        limit=SHOWN,
    )


def _next(asked: Asked) -> int | None:
    """Return the index behind the items that are listed; None: there are no more."""
    found = asked.once(_listed)
    behind = found[-1].index + 1 if len(found) == SHOWN else None
    return behind if behind is not None and behind < asked.once(step)["tasks"]["total"] else None


def _items(asked: Asked) -> Mapping[str, Any]:
    run, state = asked.once(outline), asked.once(step)
    status, first = _chosen(asked, state), asked.once(_first)
    return {
        **asked.once(_read),
        "rows": [_row(item, run["now"]) for item in asked.once(_listed)],
        "status": status,
        "counts": {ALL: state["tasks"]["total"], **_counts(state)},
        "first": first,
        "next": asked.once(_next),
    }


def _counts(state: StepShape) -> Mapping[str, int]:
    """Return the number of items by status, without zeros."""
    tasks: Mapping[str, Any] = state["tasks"]
    return {status: tasks[status] for status in STATUSES if tasks[status]}


def _row(item: ItemSummary, now: str) -> Mapping[str, Any]:
    shown: Mapping[str, Any] = item.as_json()
    begun, ended = shown["started_at"], shown["ended_at"]
    return {
        "item": shown,
        "seconds": elapsed(begun, moment(ended or now)) if begun else None,
        "goes_on": begun if not ended and item.status == "started" else None,
    }


PAGE = Page(
    path="/runs/{run}/steps/{step}",
    name="items",
    read=_read,
    json=_json,
    json_next=_json_next,
    parts={
        "head": Part(read=_head, watch=watched),
        "grid": Part(read=_grid, watch=watched),
        "items": Part(read=_items, watch=watched),
    },
)
