"""One picture of the rounds: each peer's tasks a second as a multiple of bare pgmq's."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import floor, log10
from typing import TYPE_CHECKING

from asked import RATES
from report import LIMIT, OURS

if TYPE_CHECKING:
    from report import Figure, Spread

WIDTH, PANEL_GAP = 760, 26
LEFT, RIGHT = 128, 96
STEP, HEAD, FOOT = 20, 58, 34
Point = tuple[float, float]

LOWEST = 0.002
"""The left edge of the logarithmic axis; the right one is 1, bare pgmq."""

TITLES = {
    "fanout": "one step, {} tasks",
    "diamonds": "{} diamonds of four steps",
    "backlog": "{} runs of one step",
}
LEGEND = (
    "logarithmic; 1 is pgmq in batches of 100 without workflow state; "
    "line: lowest to highest round; orange: our target"
)
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .soft { fill: #59636e } .ours { font-weight: 600 }
.dot { fill: #6e7781 } .dot.ours { fill: #1a7f64 }
.ends { stroke: #6e7781; stroke-width: 2 } .ends.ours { stroke: #1a7f64 }
.line { stroke: #d1d9e0 } .guide { stroke: #d1d9e0; stroke-dasharray: 1 4 }
.target { stroke: #bc4c00; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .soft { fill: #9198a1 }
  .dot { fill: #9198a1 } .dot.ours { fill: #3fb99a }
  .ends { stroke: #9198a1 } .ends.ours { stroke: #3fb99a }
  .line, .guide { stroke: #3d444d } .target { stroke: #f0883e }
}
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """One peer in one panel."""

    peer: str
    value: Spread
    note: str


def picture(found: list[Figure]) -> str:
    """The SVG: a panel for each workload but the chain, a line for each peer."""
    keys = sorted({(f.workload, f.size) for f in found if f.workload in TITLES}, key=_order)
    parts, y = [], HEAD
    for workload, size in keys:
        marks = _marks(found, workload, size)
        if marks:
            parts.append(_panel(workload, size, marks, top=y))
            y += 20 + STEP * len(marks) + PANEL_GAP
    height = y + FOOT - PANEL_GAP
    axis = _axis(HEAD, y - PANEL_GAP + 4)
    label = "Tasks a second as a multiple of bare pgmq, by workload and engine"
    place = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {place} role="img" aria-label="{label}">',
            f"<style>{STYLE}</style>",
            f'<text x="0" y="16" class="title">{label}</text>',
            f'<text x="0" y="34" class="soft">{LEGEND}</text>',
            axis,
            *parts,
            "</svg>",
            "",
        ]
    )


def _order(key: tuple[str, int]) -> tuple[int, int]:
    return list(TITLES).index(key[0]), key[1]


def _marks(found: list[Figure], workload: str, size: int) -> list[Mark]:
    marks = []
    for figure in found:
        same = (figure.workload, figure.size) == (workload, size)
        spread = figure.values.get("rate_x_pgmq")
        if same and spread is not None and figure.peer != LIMIT:
            note = "" if figure.n == size else f" (at {figure.n:,})"
            marks.append(Mark(figure.peer, spread, note))
    return sorted(marks, key=lambda mark: -mark.value.median)


def _panel(workload: str, size: int, marks: list[Mark], *, top: int) -> str:
    title = escape(TITLES[workload].format(f"{size:,}"))
    lines = [f'<text x="{LEFT}" y="{top + 10}" class="title">{title}</text>']
    for i, mark in enumerate(marks):
        lines += _drawn(mark, top + 26 + i * STEP, target=RATES[workload].of_pgmq)
    return "\n".join(lines)


def _drawn(mark: Mark, y: int, *, target: float) -> list[str]:
    style = "ours" if mark.peer == OURS else ""
    at, lowest, highest = map(_x, (mark.value.median, mark.value.lowest, mark.value.highest))
    lines = [
        _text(escape(mark.peer), LEFT - 8, y + 4, anchor="end", style=style),
        _line((LEFT, y), (_x(1), y), style="guide"),
        _line((lowest, y), (highest, y), style=f"ends {style}"),
        f'<circle cx="{at:.1f}" cy="{y}" r="5" class="dot {style}"/>',
    ]
    if style:
        lines.append(_line((_x(target), y - 8), (_x(target), y + 8), style="target"))
    x = max(at + 5, highest) + 6
    if style and at < _x(target) < x + 40:
        x = _x(target) + 6
    return [*lines, _text(f"{_number(mark.value.median)}{mark.note}", x, y + 4, style=style)]


def _axis(top: int, bottom: int) -> str:
    lines = []
    for value in (0.01, 0.1, 1.0):
        x = _x(value)
        lines.append(_line((x, top), (x, bottom), style="line"))
        lines.append(_text(f"{value:g}", x, bottom + 15, anchor="middle", style="soft"))
    return "\n".join(lines)


def _line(start: Point, end: Point, *, style: str) -> str:
    (x1, y1), (x2, y2) = start, end
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} class="{style.strip()}"/>'


def _text(text: str, x: float, y: float, *, anchor: str = "start", style: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} class="{style.strip()}">{text}</text>'


def _x(value: float) -> float:
    """Where a multiple stands, never outside the drawing."""
    share = (log10(max(value, LOWEST)) - log10(LOWEST)) / -log10(LOWEST)
    return min(LEFT + share * (WIDTH - LEFT - RIGHT), float(WIDTH - RIGHT + 20))


def _number(value: float) -> str:
    """Two significant digits, without an exponent."""
    digits = 1 if value >= 1 else 1 - floor(log10(value)) if value > 0 else 0
    return f"{value:.{digits}f}"
