"""The pictures on the page of a run: its graph, sent once and then marked, and its timeline."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from markupsafe import Markup

from pgflow_yaml.language.graph.drawing import of_definition
from pgflow_yaml.language.graph.neighbourhood import MOST_BOXES, part
from pgflow_yaml.language.graph.page import focus, picture, place, update
from pgflow_yaml.runs.graph import marks, of_snapshot
from pgflow_yaml.runs.run import run_name
from pgflow_yaml.runs.steps import is_wide
from pgflow_yaml.web.asked import Moved
from pgflow_yaml.web.pages.of_run import definition, snapshot
from pgflow_yaml.web.pictures.timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.graph.drawing import Drawing
    from pgflow_yaml.language.graph.sheet import Sheet
    from pgflow_yaml.web.asked import Asked

_LEAST_TO_SEARCH = 20


def selected(asked: Asked) -> str | None:
    """Return the step to show: the one in the address, else the first failed or live one."""
    slugs = {step["slug"] for step in asked.once(snapshot)["steps"]}
    chosen = asked.query.get("step")
    return chosen if chosen in slugs else focus(asked.once(_marks))


def address(asked: Asked, **changes: str | None) -> str:
    """Return the address of this page with other values in its query; None drops one."""
    kept = {name: asked.query.get(name) for name in ("step", "around", "view", "attempt")}
    pairs = [(name, value) for name, value in (kept | changes).items() if value]
    path = f"/runs/{asked.once(snapshot)['run']['id']}"
    return asked.url(path) + (f"?{urlencode(pairs)}" if pairs else "")


def _step_link(asked: Asked) -> str:
    """Return the beginning of the address of a step on this page."""
    link = address(asked, step=None)
    return f"{link}{'&' if '?' in link else '?'}step="


def _marks(asked: Asked) -> Mapping[str, Any]:
    return marks(asked.once(snapshot))


def lead_to_part(asked: Asked) -> None:
    """Raise Moved if a flow is too large for a picture: the address then says what is shown."""
    if asked.query.get("around") or len(asked.once(snapshot)["steps"]) <= MOST_BOXES:
        return
    if centre := asked.once(selected) or next(iter(asked.once(_marks)), None):
        raise Moved(address(asked, around=centre).removeprefix(asked.root))


def _sheet(asked: Asked) -> Sheet:
    """Return the layout of the picture, which is that of the version of the flow."""
    stored = asked.once(definition)
    drawing = of_definition(stored.as_definition()) if stored else of_snapshot(asked.once(snapshot))
    return _placed(drawing, asked.query.get("around"))


@lru_cache(maxsize=64)
def _placed(drawing: Drawing, around: str | None) -> Sheet:
    return place(part(drawing, around))


def read_graph(asked: Asked) -> Mapping[str, Any]:
    """Return the picture of the graph, and the ways to see it otherwise."""
    shown, chosen = asked.once(snapshot), asked.once(selected)
    sheet = asked.once(_sheet)
    fits = asked.query.get("view") == "fit"
    svg = picture(
        sheet,
        asked.once(_marks),
        title=f"graph of {run_name(shown['run'])}",
        link=_step_link(asked),
        selected=chosen,
        centre=asked.query.get("around") or chosen,
        fit=fits,
    )
    around = asked.query.get("around")
    total = len(shown["steps"])
    return {
        "svg": Markup(svg),  # noqa: S704 (escaped by the picture)
        "fits": fits,
        "version": shown["run"]["version"],
        "turn": address(asked, view=None if fits else "fit"),
        "around": around,
        "whole": address(asked, around=None) if around and total <= MOST_BOXES else "",
        "near": address(asked, around=chosen) if chosen and not around and total > 5 else "",
        "chosen": chosen,
        "searches": len(sheet.boxes) >= _LEAST_TO_SEARCH,
        "total": total,
        "boxes": len(sheet.boxes),
    }


def read_marks(asked: Asked) -> Mapping[str, Any]:
    """Return what changes in the graph while a run goes on."""
    found = update(asked.once(_sheet), asked.once(_marks))
    return {
        "marks": json.dumps(found, ensure_ascii=False, separators=(",", ":")),
        "selected": asked.once(selected) or "",
        "version": asked.once(snapshot)["run"]["version"],
    }


def read_timeline(asked: Asked) -> Mapping[str, Any]:
    """Return the timeline; without one, no step has begun."""
    shown = asked.once(snapshot)
    if not any(step["started_at"] for step in shown["steps"]):
        return {"svg": "", "live": shown["run"]["status"] == "started"}
    wide = any(map(is_wide, shown["steps"]))
    svg = timeline(
        shown,
        asked.client.run_densities(shown["run"]["id"]) if wide else None,
        link=_step_link(asked),
        selected=asked.once(selected),
    )
    live = shown["run"]["status"] == "started"
    return {"svg": Markup(svg), "live": live}  # noqa: S704 (escaped by the picture)
