"""Write a drawing as an SVG document of its own, with colours for light and dark themes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.formats import COLORS
from pgflow_yaml.language.graph.markup import SYMBOLS, escaped
from pgflow_yaml.language.graph.sheet import Measure, sheet
from pgflow_yaml.text import cells, safe

if TYPE_CHECKING:
    from pgflow_yaml.language.graph.drawing import Drawing, Node
    from pgflow_yaml.language.graph.sheet import Box, Curve, Sheet

_HEIGHT, _LETTER, _PADDING, _LONGEST = 32.0, 7.8, 12.0, 48
_BASELINE = 4.5
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


def place(drawing: Drawing) -> Sheet:
    """Return the layout of a drawing whose nodes have all their words on one line."""
    return sheet(drawing, Measure(height=_HEIGHT, width=_width))


def svg(drawing: Drawing) -> str:
    """Return the drawing as one SVG document."""
    page = place(drawing)
    size = f'width="{page.width:.0f}" height="{page.height:.0f}"'
    title = escaped(f"flow {drawing.flow}")
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
            f'<text class="heading" x="{x:.0f}" y="{y:.0f}">{escaped(text)}</text>'
            for text, (x, y) in page.headings
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _curve(curve: Curve) -> str:
    edge = curve.edge
    words = escaped(f"{edge.source} → {edge.target}: {edge.kind}")
    return (
        f'<path class="edge {edge.kind}" d="{curve.path()}" marker-end="url(#arrow)">'
        f"<title>{words}</title></path>"
    )


def _box(box: Box) -> str:
    node = box.node
    status = f" {node.status}" if node.status in COLORS else ""
    status_words = f": {node.status}" if node.status else ""
    folded = f" ({', '.join(node.folded[:50])})" if node.folded else ""
    y = box.y + box.height / 2 + _BASELINE
    return (
        f'<g class="node{status}"><title>{escaped(node.text + status_words + folded)}</title>'
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" '
        f'height="{box.height:.0f}" rx="6"/>'
        f'<text x="{box.x + _PADDING:.0f}" y="{y:.0f}">{escaped(_shown(node))}</text></g>'
    )


def _shown(node: Node) -> str:
    symbol = f"{SYMBOLS[node.status]} " if node.status and node.status in SYMBOLS else ""
    text = symbol + node.text
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _width(node: Node) -> float:
    return cells(safe(_shown(node))) * _LETTER + 2 * _PADDING


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
