"""The part of a drawing that a page shows: all of it, or the steps around one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgflow_yaml.language.graph.drawing import Drawing

MOST_BOXES = 600
"""Nobody finds a step in a larger picture, and a browser scrolls it badly."""
_LEVELS = 2


def part(drawing: Drawing, around: str | None, focus: str | None = None) -> Drawing:
    """Return what to show: the steps around one, all, or of too many those around the focus.

    Only structure decides, never a status, so that a run in progress keeps its picture.
    """
    slugs = [node.slug for node in drawing.nodes]
    centre = around if around in slugs else None
    if centre is None and len(slugs) > MOST_BOXES:
        centre = focus if focus in slugs else slugs[0]
    return drawing if centre is None else fold(_around(drawing, centre), MOST_BOXES)


def _around(drawing: Drawing, centre: str) -> Drawing:
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for edge in drawing.edges:
        before.setdefault(edge.target, []).append(edge.source)
        after.setdefault(edge.source, []).append(edge.target)
    kept = _reached(centre, before) | _reached(centre, after)
    return replace(
        drawing,
        nodes=tuple(node for node in drawing.nodes if node.slug in kept),
        edges=tuple(e for e in drawing.edges if e.source in kept and e.target in kept),
    )


def _reached(centre: str, links: Mapping[str, Iterable[str]]) -> set[str]:
    reached = {centre}
    for _ in range(_LEVELS):
        reached |= {slug for one in reached for slug in links.get(one, ())}
    return reached
