"""Positions of boxes and curves on a sheet, in pixels: from left to right, `finally` below."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.layout import lay_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node
    from pgflow_yaml.language.graph.layout import Cell, Layout

Point = tuple[float, float]

MARGIN, ARROW = 16.0, 6.0
_GAP, _SPACE, _HEADING = 56.0, 16.0, 28.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The height of each box, and the width of the box of a node."""

    height: float
    width: Callable[[Node], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Box of a node: its upper left corner and its size, in pixels."""

    node: Node
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Curve of an edge: points from left to right, horizontal at each of them."""

    edge: Edge
    points: tuple[Point, ...]

    def path(self) -> str:
        """Return the curve as the data of an SVG path, in whole pixels."""
        (x, y), *_ = self.points
        parts = [f"M{x:.0f} {y:.0f}"]
        for (x, y), (next_x, next_y) in pairwise(self.points):
            if y == next_y:
                parts.append(f"H{next_x:.0f}")
            else:
                # Both handles lie half-way between the ends.
                middle = f"{(x + next_x) / 2:.0f}"
                parts.append(f"C{middle} {y:.0f} {middle} {next_y:.0f} {next_x:.0f} {next_y:.0f}")
        return "".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Boxes, curves and headings with their positions, and the size of the picture."""

    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]
    headings: tuple[tuple[str, Point], ...]
    width: float
    height: float


def sheet(drawing: Drawing, measure: Measure) -> Sheet:
    """Return the positions of all nodes and edges, with `finally` below the other steps."""
    boxes: list[Box] = []
    curves: list[Curve] = []
    headings = []
    bottom = MARGIN
    for part in (drawing.section("steps"), drawing.section("finally")):
        if not part.nodes:
            continue
        if part.nodes[0].section == "finally":
            headings.append(("finally", (MARGIN, bottom + _HEADING / 2)))
            bottom += _HEADING
        layout = lay_out(part)
        place = _Place(part, layout, measure, bottom)
        boxes += place.boxes.values()
        curves += [Curve(edge=edge, points=place.points(route)) for edge, route in layout.routes]
        bottom += (1 + max(layout.rows.values())) * place.row
    return Sheet(
        boxes=tuple(boxes),
        curves=tuple(curves),
        headings=tuple(headings),
        width=max((box.x + box.width for box in boxes), default=0.0) + MARGIN,
        height=bottom - _SPACE + MARGIN,
    )


class _Place:
    """The boxes of one section, and where lines pass between them."""

    def __init__(self, drawing: Drawing, layout: Layout, measure: Measure, top: float) -> None:
        self.row = measure.height + _SPACE
        self._layout, self._measure, self._top = layout, measure, top
        self._columns: list[tuple[float, float]] = []
        self.boxes: dict[str, Box] = {}
        by_slug = {node.slug: node for node in drawing.nodes}
        x = MARGIN
        for layer in layout.layers:
            placed = [self._box(by_slug[cell], x) for cell in layer if isinstance(cell, str)]
            self.boxes.update((box.node.slug, box) for box in placed)
            width = max(box.width for box in placed)
            self._columns.append((x, width))
            x += width + _GAP

    def _box(self, node: Node, x: float) -> Box:
        y = self._top + self._layout.rows[node.slug] * self.row
        measure = self._measure
        return Box(node=node, x=x, y=y, width=measure.width(node), height=measure.height)

    def points(self, route: Sequence[Cell]) -> tuple[Point, ...]:
        """Return the points of an edge."""
        bends: list[Point] = []
        for cell in route:
            if isinstance(cell, tuple):
                left, width = self._columns[cell[1]]
                y = self._top + self._layout.rows[cell] * self.row + self._measure.height / 2
                bends += [(left, y), (left + width, y)]
        first, last = self.boxes[str(route[0])], self.boxes[str(route[-1])]
        start = (first.x + first.width, first.y + first.height / 2)
        end = (last.x - ARROW, last.y + last.height / 2)
        return (start, *bends, end)
