"""One picture of the rounds: each peer's tasks a second as a multiple of bare pgmq's."""

from __future__ import annotations

from html import escape
from math import floor, log10
from typing import TYPE_CHECKING

from figures import LIMIT, OURS, RATES

if TYPE_CHECKING:
    from figures import Figure

Point = tuple[float, float]

WIDTH, LEFT, RIGHT = 760, 128, 96
STEP, HEAD, FOOT = 20, 58, 34
LOWEST = 0.002
"""The left edge of the logarithmic axis; the right one is 1, bare pgmq."""

TITLES = {
    "fanout": "one step, {:,} tasks",
    "diamonds": "{:,} diamonds of four steps",
    "backlog": "{:,} runs of one step",
}
LABEL = "Tasks a second as a multiple of bare pgmq, by workload and engine"
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


def picture(summary: list[Figure]) -> str:
    """Draw the SVG: a panel for each workload but the chain, a line for each peer."""
    figures = [f for f in summary if "rate_x_pgmq" in f.values and f.peer != LIMIT]
    y, parts = HEAD, [_text(LABEL, 0, 16, "title"), _text(LEGEND, 0, 34, "soft")]
    for workload, title in TITLES.items():
        for size in sorted({f.size for f in figures if f.workload == workload}):
            parts.append(_text(title.format(size), LEFT, y + 10, "title"))
            panel = [f for f in figures if (f.workload, f.size) == (workload, size)]
            panel.sort(key=lambda f: -f.values["rate_x_pgmq"].figure)
            for i, figure in enumerate(panel):
                parts += _peer(figure, y + 26 + i * STEP)
            y += 46 + STEP * len(panel)
    for value in (0.01, 0.1, 1.0):
        parts.insert(0, _line((_x(value), HEAD), (_x(value), y - 22), "line"))
        parts.append(_text(f"{value:g}", _x(value), y - 7, "soft", anchor="middle"))
    height = y + FOOT - 26
    box = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{LABEL}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _peer(figure: Figure, y: int) -> list[str]:
    spread, ours = figure.values["rate_x_pgmq"], "ours" if figure.peer == OURS else ""
    middle, lowest, highest = map(_x, (spread.figure, spread.lowest, spread.highest))
    target, x = _x(RATES[figure.workload][0]), max(middle + 5, highest) + 6
    parts = [
        _text(figure.peer, LEFT - 8, y + 4, ours, anchor="end"),
        _line((LEFT, y), (_x(1), y), "guide"),
        _line((lowest, y), (highest, y), f"ends {ours}"),
        f'<circle cx="{middle:.1f}" cy="{y}" r="5" class="dot {ours}"/>',
    ]
    if ours:
        parts.append(_line((target, y - 8), (target, y + 8), "target"))
        x = target + 6 if middle < target < x + 40 else x
    # Two significant digits, without an exponent.
    digits = 1 if spread.figure >= 1 else 1 - floor(log10(spread.figure))
    note = "" if figure.n == figure.size else f" (at {figure.n:,})"
    return [*parts, _text(f"{spread.figure:.{digits}f}{note}", x, y + 4, ours)]


def _line(start: Point, end: Point, style: str) -> str:
    ends = 'x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"'.format(*start, *end)
    return f'<line {ends} class="{style.strip()}"/>'


def _text(text: str, x: float, y: float, style: str, *, anchor: str = "start") -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {at} class="{style}">{escape(text)}</text>'


def _x(value: float) -> float:
    """Place a multiple on the axis, never outside the drawing."""
    share = 1 - log10(max(value, LOWEST)) / log10(LOWEST)
    return min(LEFT + share * (WIDTH - LEFT - RIGHT), WIDTH - RIGHT + 20.0)
