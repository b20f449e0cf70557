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
BAR, STEP, HEAD, FOOT = 12, 20, 54, 34
LOWEST = 0.004
"""The left edge of the logarithmic axis; the right one is 1, bare pgmq."""

TITLES = {
    "fanout": "one step, {} tasks",
    "diamonds": "{} diamonds of four steps",
    "backlog": "{} runs of one step",
}
LEGEND = (
    "logarithmic; 1 = pgmq in batches of 100 without workflow state; orange: our target; "
    "thin line: lowest to highest round"
)
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .soft { fill: #59636e } .ours { font-weight: 600 }
.bar { fill: #9aa4ae } .bar.ours { fill: #1a7f64 } .end { stroke: #1f2328 }
.line { stroke: #d1d9e0 } .target { stroke: #bc4c00; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .soft { fill: #9198a1 } .bar { fill: #6e7681 }
  .bar.ours { fill: #3fb99a } .line { stroke: #3d444d } .end { stroke: #e6edf3 }
  .target { stroke: #f0883e }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One peer in one panel."""

    peer: str
    value: Spread
    note: str


def picture(found: list[Figure]) -> str:
    """The SVG: a panel for each workload but the chain, a bar for each peer."""
    keys = sorted({(f.workload, f.size) for f in found if f.workload in TITLES}, key=_order)
    parts, y = [], HEAD
    for workload, size in keys:
        bars = _bars(found, workload, size)
        if bars:
            parts.append(_panel(workload, size, bars, top=y))
            y += 20 + STEP * len(bars) + PANEL_GAP
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


def _bars(found: list[Figure], workload: str, size: int) -> list[Bar]:
    bars = []
    for figure in found:
        same = (figure.workload, figure.size) == (workload, size)
        spread = figure.values.get("rate_x_pgmq")
        if same and spread is not None and figure.peer != LIMIT:
            note = "" if figure.n == size else f" (at {figure.n:,})"
            bars.append(Bar(figure.peer, spread, note))
    return sorted(bars, key=lambda bar: -bar.value.median)


def _panel(workload: str, size: int, bars: list[Bar], *, top: int) -> str:
    title = escape(TITLES[workload].format(f"{size:,}"))
    lines = [f'<text x="{LEFT}" y="{top + 10}" class="title">{title}</text>']
    for i, bar in enumerate(bars):
        lines += _drawn(bar, top + 20 + i * STEP, target=RATES[workload].of_pgmq)
    return "\n".join(lines)


def _drawn(bar: Bar, y: int, *, target: float) -> list[str]:
    ours = " ours" if bar.peer == OURS else ""
    end, middle, base = _x(bar.value.median), y + BAR / 2, y + BAR - 2
    width = max(end - LEFT, 1)
    lines = [
        _text(escape(bar.peer), LEFT - 8, base, anchor="end", style=ours),
        f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" class="bar{ours}"/>',
    ]
    lowest, highest = _x(bar.value.lowest), _x(bar.value.highest)
    if highest - lowest > 1:
        lines.append(
            f'<line x1="{lowest:.1f}" x2="{highest:.1f}" y1="{middle}" y2="{middle}" class="end"/>'
        )
    if ours:
        at = _x(target)
        lines.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y - 3}" y2="{y + BAR + 3}" class="target"/>'
        )
    text = f"{_number(bar.value.median)}{bar.note}"
    x = max(end, highest, _x(target) if ours else 0) + 6
    lines.append(_text(text, x, base, style=ours))
    return lines


def _axis(top: int, bottom: int) -> str:
    lines = []
    for value in (0.01, 0.1, 1.0):
        x = _x(value)
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" class="line"/>')
        lines.append(_text(f"{value:g}", x, bottom + 15, anchor="middle", style="soft"))
    return "\n".join(lines)


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
