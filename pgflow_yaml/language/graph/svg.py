"""Write a drawing as SVG for light and dark themes: boxes from left to right, joined by curves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.formats import COLORS
from pgflow_yaml.language.graph.layout import lay_out
from pgflow_yaml.text import cells, safe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node
    from pgflow_yaml.language.graph.layout import Cell, Layout

Point = tuple[float, float]

_MARGIN, _GAP, _ROW, _HEIGHT = 16.0, 56.0, 48.0, 32.0
_LETTER, _PADDING, _LONGEST = 7.8, 12.0, 48
_HEADING = 28.0
_ARROW, _BASELINE = 6.0, 4.5
# Lighter than COLORS, so that each has a contrast of 4.5 with the dark background.
_ON_DARK = {
    "completed": "#81c784",
    "started": "#4fc3f7",
    "waiting": "#ce93d8",
    "created": "#bdbdbd",
    "failed": "#ff8a80",
    "skipped": "#9e9e9e",
    "cancelled": "#f48fb1",
}
_SYMBOLS = {
    "completed": "✓",
    "started": "▶",
    "waiting": "⏸",
    "created": "○",
    "failed": "✗",
    "skipped": "⊘",
    "cancelled": "■",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Box of a node: its upper left corner and its size, in pixels."""

    node: Node
    x: float
    y: float
    width: float
    height: float = _HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Curve of an edge: points from left to right, horizontal at each of them."""

    edge: Edge
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Boxes, curves and headings with their positions, and the size of the picture."""

    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]
    headings: tuple[tuple[str, Point], ...]
    width: float
    height: float


def sheet(drawing: Drawing) -> Sheet:
    """Return the positions of all nodes and edges, with `finally` below the other steps."""
    boxes: list[Box] = []
    curves: list[Curve] = []
    headings = []
    bottom = _MARGIN
    for part in (drawing.section("steps"), drawing.section("finally")):
        if not part.nodes:
            continue
        if part.nodes[0].section == "finally":
            headings.append(("finally", (_MARGIN, bottom + _HEADING / 2)))
            bottom += _HEADING
        layout = lay_out(part)
        columns = _columns(part, layout)
        placed = _boxes(part, layout, columns, bottom)
        boxes += placed.values()
        curves += [
            Curve(edge=edge, points=tuple(_points(route, placed, layout, (columns, bottom))))
            for edge, route in layout.routes
        ]
        bottom += (1 + max(layout.rows.values())) * _ROW
    return Sheet(
        boxes=tuple(boxes),
        curves=tuple(curves),
        headings=tuple(headings),
        width=max((box.x + box.width for box in boxes), default=0.0) + _MARGIN,
        height=bottom - (_ROW - _HEIGHT) + _MARGIN,
    )


def _columns(drawing: Drawing, layout: Layout) -> list[tuple[float, float]]:
    """Return the left edge and the width of each layer."""
    by_slug = {node.slug: node for node in drawing.nodes}
    columns = []
    x = _MARGIN
    for layer in layout.layers:
        width = max(_width(by_slug[cell]) for cell in layer if isinstance(cell, str))
        columns.append((x, width))
        x += width + _GAP
    return columns


def _boxes(
    drawing: Drawing, layout: Layout, columns: Sequence[tuple[float, float]], top: float
) -> dict[str, Box]:
    by_slug = {node.slug: node for node in drawing.nodes}
    return {
        cell: Box(
            node=by_slug[cell],
            x=columns[number][0],
            y=top + layout.rows[cell] * _ROW,
            width=_width(by_slug[cell]),
        )
        for number, layer in enumerate(layout.layers)
        for cell in layer
        if isinstance(cell, str)
    }


def _points(
    route: Sequence[Cell],
    boxes: Mapping[str, Box],
    layout: Layout,
    origin: tuple[Sequence[tuple[float, float]], float],
) -> list[Point]:
    """Return the points of an edge; `origin` has the columns of the section and its top."""
    columns, top = origin
    points: list[Point] = []
    for cell in route:
        if isinstance(cell, tuple):
            left, width = columns[cell[1]]
            y = top + layout.rows[cell] * _ROW + _HEIGHT / 2
            points += [(left, y), (left + width, y)]
    first, last = boxes[str(route[0])], boxes[str(route[-1])]
    start = (first.x + first.width, first.y + first.height / 2)
    end = (last.x - _ARROW, last.y + last.height / 2)
    return [start, *points, end]


def svg(drawing: Drawing) -> str:
    """Return the drawing as one SVG document."""
    page = sheet(drawing)
    size = f'width="{page.width:.0f}" height="{page.height:.0f}"'
    title = _text(f"flow {drawing.flow}")
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
            f'viewBox="0 0 {page.width:.0f} {page.height:.0f}" role="img">'
        ),
        f"<title>{title}</title>",
        f"<style>{_styles()}</style>",
        (
            '<defs><marker id="arrow" viewBox="0 0 6 6" refX="0" refY="3" markerWidth="6" '
            'markerHeight="6" orient="auto" markerUnits="userSpaceOnUse">'
            '<path d="M0 0L6 3L0 6z" class="head"/></marker></defs>'
        ),
        *(_curve(curve) for curve in page.curves),
        *(_box(box) for box in page.boxes),
        *(
            f'<text class="heading" x="{x:.1f}" y="{y:.1f}">{_text(text)}</text>'
            for text, (x, y) in page.headings
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _curve(curve: Curve) -> str:
    (x, y), *_ = curve.points
    path = [f"M{x:.1f} {y:.1f}"]
    for (x, y), (next_x, next_y) in pairwise(curve.points):
        if y == next_y:
            path.append(f"H{next_x:.1f}")
        else:
            middle = (x + next_x) / 2
            path.append(
                f"C{middle:.1f} {y:.1f} {middle:.1f} {next_y:.1f} {next_x:.1f} {next_y:.1f}"
            )
    edge = curve.edge
    words = _text(f"{edge.source} → {edge.target}: {edge.kind}")
    return (
        f'<path class="edge {edge.kind}" d="{" ".join(path)}" marker-end="url(#arrow)">'
        f"<title>{words}</title></path>"
    )


def _box(box: Box) -> str:
    node = box.node
    status = f" {node.status}" if node.status in COLORS else ""
    status_words = f": {node.status}" if node.status else ""
    folded = f" ({', '.join(node.folded[:50])})" if node.folded else ""
    y = box.y + box.height / 2 + _BASELINE
    return (
        f'<g class="node{status}"><title>{_text(node.text + status_words + folded)}</title>'
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.0f}" rx="6"/>'
        f'<text x="{box.x + _PADDING:.1f}" y="{y:.1f}">{_text(_shown(node))}</text></g>'
    )


def _shown(node: Node) -> str:
    symbol = f"{_SYMBOLS[node.status]} " if node.status in _SYMBOLS else ""
    text = symbol + node.text
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _width(node: Node) -> float:
    return cells(safe(_shown(node))) * _LETTER + 2 * _PADDING


def _text(text: str) -> str:
    """Return a text escaped for XML, without characters that XML cannot have."""
    escaped = safe(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = escaped.encode("utf-8", errors="replace").decode("utf-8")
    return escaped.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd").replace('"', "&quot;")


def _styles() -> str:
    light = "".join(
        f".{status} rect{{stroke:{color};stroke-width:2}}.{status} text{{fill:{color}}}"
        for status, color in COLORS.items()
    )
    dark = "".join(
        f".{status} rect{{stroke:{color}}}.{status} text{{fill:{color}}}"
        for status, color in _ON_DARK.items()
    )
    return (
        "text{font:13px ui-monospace,monospace;fill:#222}"
        ".heading{font-weight:bold}.skipped rect{stroke-dasharray:3 3}rect{fill:#fff;stroke:#888}"
        ".edge{fill:none;stroke:#888;stroke-width:1.5}.head{fill:#888}"
        ".failure{stroke:#c62828;stroke-dasharray:5 4}.any{stroke-dasharray:2 4}"
        f"{light}@media (prefers-color-scheme:dark){{svg{{background:#1b1b1f}}"
        "text{fill:#eee}rect{fill:#26262b;stroke:#999}.edge{stroke:#999}.head{fill:#999}"
        f".failure{{stroke:#ff8a80}}{dark}}}"
    )
