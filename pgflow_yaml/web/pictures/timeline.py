"""The timeline of a run: one row a step, with its attempts and the waits between them.

Horizontal places are percentages, so that one picture fits a telephone and a wide screen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from pgflow_yaml.language.graph.markup import SYMBOLS, escaped, word
from pgflow_yaml.text import duration, fit, plural, safe

from .rows import Chart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.runs.items import DensityShape
    from pgflow_yaml.runs.snapshot import Snapshot

    from .axis import Axis
    from .rows import Row

_NAMES, _CHART = 23, 24
"""The width of the names and the left edge of the chart, in percent."""
_HEADER, _BREAKS, _ROW, _WITH_SYMBOLS = 24, 16, 24, 38
_TOP, _THICK, _BASELINE, _SYMBOL_LINE = 5, 14, 16, 31
_LONGEST_NAME, _LEAST_WIDTH, _SYMBOLS_APART = 40, 0.4, 2.5
# Percent that a text needs on a telephone.
_ROOM_FOR_TIME, _ROOM_FOR_LENGTH = 16.0, 24.0


def timeline(
    snapshot: Snapshot,
    densities: Mapping[str, DensityShape] | None = None,
    *,
    name: str = "timeline",
    link: str = "?step=",
    selected: str | None = None,
) -> str:
    """Return the picture; `name` begins its ids, and each row leads to `link` with its step.

    `densities` has what is known of steps with many tasks; the others of these are plain bars.
    """
    chart = Chart(snapshot, densities or {})
    name = escaped(name)
    top = _HEADER + (_BREAKS if chart.axis.breaks() else 0)
    rows = []
    bottom = top
    for row in chart.rows:
        current = ' aria-current="true"' if row.slug == selected else ""
        href = f'href="{escaped(link + quote(row.slug, safe=""))}"{current}'
        rows.append(_row(row, bottom, href, _bars(row, chart.axis, name)))
        bottom += _height(row)
    note = f"and {plural(chart.left_out, 'more step')}" if chart.left_out else ""
    height = bottom + (_ROW if note else 0)
    return "\n".join(
        [
            (
                f'<svg class="pg-timeline" id="{name}" width="100%" height="{height}" role="group" '
                'aria-label="timeline">'
            ),
            (
                f'<defs><pattern id="{name}-wait" width="6" height="6" '
                'patternUnits="userSpaceOnUse">'
                '<path class="pg-hatch" d="M0 6L6 0M-1 1L1 -1M5 7L7 5"/></pattern></defs>'
            ),
            _scale(chart.axis, bottom),
            *rows,
            f'<text class="pg-note" x="0" y="{bottom + _BASELINE}">{note}</text>' if note else "",
            "</svg>",
        ]
    )


def _scale(axis: Axis, bottom: int) -> str:
    """Return the ticks with their times, and the broken gaps with their lengths."""
    parts = [f'<svg x="{_CHART}%" width="{100 - _CHART}%" height="{bottom}">']
    named = -100.0
    for gap in axis.breaks():
        length = _time(gap.end - gap.begin)
        width = gap.right - gap.left
        parts.append(
            f"<g><title>nothing ran for {length}</title>"
            f'<rect class="pg-gap" x="{gap.left:.2f}%" width="{width:.2f}%" y="{_HEADER}" '
            f'height="{bottom - _HEADER}"/>'
        )
        middle = (gap.left + gap.right) / 2
        apart = middle - named >= _ROOM_FOR_TIME
        anchor = _anchor(middle)
        words = f"⟂ {length}" if apart else "⟂"
        named = middle if apart else named
        parts.append(
            f'<text class="pg-time {anchor}" x="{middle:.2f}%" y="{_HEADER + 11}">'
            f"{words}</text></g>"
        )
    for tick in axis.ticks():
        where = f"{tick.where:.2f}%"
        parts.append(
            f'<line class="pg-tick" x1="{where}" x2="{where}" y1="{_HEADER - 6}" y2="{bottom}"/>'
        )
        if tick.where <= 100 - _ROOM_FOR_TIME / 2:
            parts.append(
                f'<text class="pg-time {_anchor(tick.where)}" x="{where}" y="12">'
                f"{'+' if tick.later else ''}{_time(tick.seconds)}</text>"
            )
    return "".join([*parts, "</svg>"])


def _time(seconds: float) -> str:
    """Return a time of the axis: `0`, `30 s`, `2 m`, `1 h 30 m`."""
    return re.sub(r"\.0(?= s)| 00 [sm]$| 0 h$", "", duration(seconds)) if seconds else "0"


def _anchor(where: float, room: float = _ROOM_FOR_TIME) -> str:
    """Return the class that keeps a text inside the picture."""
    if where < room / 2:
        return "pg-from"
    return "pg-to" if where > 100 - room / 2 else "pg-mid"


def _height(row: Row) -> int:
    return _WITH_SYMBOLS if row.failures else _ROW


def _row(row: Row, top: int, link: str, bars: str) -> str:
    name = escaped(fit(safe(row.slug), _LONGEST_NAME))
    whole = escaped(row.slug)
    # What is seen comes first, as it stands there: who speaks to a browser says what he sees.
    label = f"{name} {escaped(row.length)}: {word(row.condition)}"
    label += "" if name == whole else f", {whole}"
    place = f'y="{top}" height="{_height(row)}"'
    return (
        f'<a class="pg-row pg-{row.condition}" data-step="{escaped(row.slug)}" {link} '
        f'aria-label="{label}"><rect class="pg-back" {place} width="100%"/>'
        f'<svg {place} width="{_NAMES}%"><title>{label}</title>'
        f'<text class="pg-symbol" x="4" y="{_BASELINE}">{SYMBOLS[row.condition]}</text>'
        f'<text x="20" y="{_BASELINE}">{name}</text> </svg>'
        f'<svg {place} x="{_CHART}%" width="{100 - _CHART}%">{bars}</svg></a>'
    )


def _bars(row: Row, axis: Axis, name: str) -> str:
    """Return what a row shows in the chart."""
    parts = []
    for bar in row.bars:
        begin, end = (axis.at(seconds) for seconds in bar.span)
        begin, width = _visible(begin, end)
        waits = bar.kind == "wait"
        pale = " pg-pale" if row.density else ""
        kind = "pg-wait" if waits else f"pg-span pg-{bar.kind}{pale}"
        fill = f' fill="url(#{name}-wait)"' if waits else ""
        parts.append(
            f'<rect class="{kind}" x="{begin:.2f}%" width="{width:.2f}%" y="{_TOP}" '
            f'height="{_THICK}"{fill}><title>{escaped(bar.words)}</title></rect>'
        )
    if row.density:
        parts.append(_density(*row.density, axis))
    return "".join([*parts, _symbols(row, axis), _length(row, axis)])


def _visible(begin: float, end: float) -> tuple[float, float]:
    """Return the left edge and the width of a bar that can be seen, inside the picture."""
    width = max(end - begin, _LEAST_WIDTH)
    return max(min(begin, 100 - width), 0.0), width


def _density(span: tuple[float, float], running: Sequence[int], axis: Axis) -> str:
    """Return the area of how many items ran; the highest is as high as a bar."""
    most, begin = max(running, default=0), span[0]
    if not most:
        return ""
    width = (span[1] - begin) / len(running)
    path = f"M{axis.at(begin):.2f} {_THICK}"
    for number, count in enumerate(running):
        height = _THICK * (1 - count / most)
        path += f"V{height:.1f}H{axis.at(begin + (number + 1) * width):.2f}"
    return (
        f'<svg y="{_TOP}" width="100%" height="{_THICK}" viewBox="0 0 100 {_THICK}" '
        f'preserveAspectRatio="none"><path class="pg-area" d="{path}V{_THICK}z"><title>'
        f"at most {most:,} at the same time</title></path></svg>"
    )


def _symbols(row: Row, axis: Axis) -> str:
    """Return a symbol under the end of each failed attempt; those too near share one."""
    groups: list[tuple[float, list[str]]] = []
    for seconds, words in sorted(row.failures):
        where = axis.at(seconds)
        if groups and where - groups[-1][0] < _SYMBOLS_APART:
            groups[-1][1].append(words)
        else:
            groups.append((where, [words]))
    return "".join(
        f'<text class="pg-fault {_anchor(where, _SYMBOLS_APART)}" x="{where:.2f}%" '
        f'y="{_SYMBOL_LINE}">✗<title>'
        f"{escaped(_together(words))}</title></text>"
        for where, words in groups
    )


def _together(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{plural(len(words), 'failure')}, first {words[0]}"


def _length(row: Row, axis: Axis) -> str:
    """Return how long the step took, beside its bars, where there is room."""
    begin, end = (axis.at(seconds) for seconds in row.span)
    if end <= 100 - _ROOM_FOR_LENGTH:
        return f'<text class="pg-time" x="{end:.2f}%" dx="6" y="{_BASELINE}">{row.length}</text>'
    if begin >= _ROOM_FOR_LENGTH:
        return (
            f'<text class="pg-time pg-to" x="{begin:.2f}%" dx="-6" y="{_BASELINE}">'
            f"{row.length}</text>"
        )
    return ""
