"""Write a drawing as text: a picture with lines where it fits and is clear, else a table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.channels import route
from pgflow_yaml.language.graph.layout import lay_out, staggered
from pgflow_yaml.language.graph.order import levels
from pgflow_yaml.text import cells, safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgflow_yaml.language.graph.channels import Gap
    from pgflow_yaml.language.graph.drawing import Drawing, Node
    from pgflow_yaml.language.graph.layout import Layout

Segment = tuple[str, str]
"""A piece of a line, and the status whose style it has; "" for none."""
Line = list[Segment]

_AFTER = len("after ,")
_UP, _RIGHT, _DOWN, _LEFT = 1, 2, 4, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """Characters to draw with: a symbol for each status, and lines in ASCII or Unicode."""

    symbols: Mapping[str, str]
    ascii: bool = False


_UNICODE = {
    0: " ",
    _UP: "│",
    _DOWN: "│",
    _LEFT: "─",
    _RIGHT: "─",
    _UP | _RIGHT: "╰",
    _UP | _LEFT: "╯",
    _DOWN | _RIGHT: "╭",
    _DOWN | _LEFT: "╮",
    _UP | _DOWN: "│",
    _LEFT | _RIGHT: "─",
    _UP | _DOWN | _RIGHT: "├",
    _UP | _DOWN | _LEFT: "┤",
    _LEFT | _RIGHT | _DOWN: "┬",
    _LEFT | _RIGHT | _UP: "┴",
    _UP | _RIGHT | _DOWN | _LEFT: "┼",
}


def render(drawing: Drawing, *, width: int, pen: Pen) -> list[Line]:
    """Return both sections as lines of at most `width` columns."""
    lines: list[Line] = []
    for part in (drawing.section("steps"), drawing.section("finally")):
        if not part.nodes:
            continue
        if part.nodes[0].section == "finally":
            lines += [[], [("finally", "")]]
        lines += _fitting_picture(part, width, pen) or _table(part, width, pen)
    return lines


def _fitting_picture(drawing: Drawing, width: int, pen: Pen) -> list[Line] | None:
    """Return a picture that can be read in one way only and is not too wide, if there is one."""
    for layout in staggered(lay_out(drawing)):
        gaps = route(layout)
        if gaps is not None:
            picture = _picture(_with_conditions(drawing), layout, gaps, pen)
            return picture if max(map(_width, picture)) <= width else None
    return None


def _with_conditions(drawing: Drawing) -> Drawing:
    """Return the drawing with a note at each step that waits for a failure or for any end."""
    words: dict[str, list[str]] = {}
    for edge in drawing.edges:
        if edge.kind != "success":
            note = "if {} fails" if edge.kind == "failure" else "after any end of {}"
            words.setdefault(edge.target, []).append(note.format(edge.source))
    nodes = [
        replace(node, notes=(*node.notes, *words.get(node.slug, ()))) for node in drawing.nodes
    ]
    return replace(drawing, nodes=tuple(nodes))


def _label(node: Node, pen: Pen) -> Line:
    text = safe(node.text)
    if node.status is None:
        return [(text, "")]
    symbol = pen.symbols.get(node.status, "?")
    return [(f"{symbol} {safe(node.label)}", node.status), (text[len(safe(node.label)) :], "")]


def _picture(drawing: Drawing, layout: Layout, gaps: Sequence[Gap], pen: Pen) -> list[Line]:
    """Return the picture, made column by column: names, then the lines to the next names."""
    labels = {node.slug: _label(node, pen) for node in drawing.nodes}
    height = 1 + max(layout.lines.values())
    rows: list[Line] = [[] for _ in range(height)]
    for number, layer in enumerate(layout.layers):
        last = number == len(gaps)
        cell_at = {layout.lines[cell]: cell for cell in layer}
        width = max(_width(labels[c]) if isinstance(c, str) else 1 for c in layer)
        drawn = {} if last else _drawn(gaps[number], pen)
        for row in range(height):
            cell = cell_at.get(row)
            line = "-" if pen.ascii else "─"
            if cell is None:
                rows[row].append((" " * width, ""))
            elif isinstance(cell, tuple):
                rows[row].append((line * width, ""))
            else:
                rows[row] += labels[cell]
                fill = width - _width(labels[cell])
                leads = fill and not last and layout.links[cell]
                rows[row].append((" " + line * (fill - 1) if leads else " " * fill, ""))
            if not last:
                text = drawn.get(row, " " * (gaps[number].width + 2))
                # The line of a bend, or behind a short name, continues; a long name has a blank.
                full = cell is not None and layout.links[cell]
                short = isinstance(cell, tuple) or (cell and _width(labels[cell]) < width)
                rows[row].append(((line if full and short else " ") + text[1:], ""))
    return [_trimmed(row) for row in rows]


def _drawn(gap: Gap, pen: Pen) -> dict[int, str]:
    """Return the lines between two layers by row, with a blank column on both sides."""
    masks: dict[tuple[int, int], int] = defaultdict(int)
    crossed: set[tuple[int, int]] = set()
    ends = set(gap.bends)
    for wire in gap.wires:
        column = wire.channel
        for row in wire.sources:
            _horizontal(masks, row, 0, column)
        for row in wire.targets:
            _horizontal(masks, row, column, gap.width - 1)
        for row in range(wire.top, wire.bottom):
            masks[row, column] |= _DOWN
            masks[row + 1, column] |= _UP
    for wire in gap.wires:
        joined = {*wire.sources, *wire.targets}
        crossed |= {
            (row, wire.channel)
            for row in range(wire.top + 1, wire.bottom)
            if row not in joined and masks[row, wire.channel] & (_LEFT | _RIGHT)
        }
    rows = sorted({row for row, _ in masks})
    return {
        row: " "
        + "".join(
            _character(masks.get((row, column), 0), (row, column) in crossed, pen)
            for column in range(gap.width)
        )
        + (("-" if pen.ascii else "─") if row in ends else " ")
        for row in rows
    }


def _horizontal(masks: dict[tuple[int, int], int], row: int, first: int, last: int) -> None:
    for column in range(first, last + 1):
        masks[row, column] |= (_LEFT if column > first or first == 0 else 0) | (
            _RIGHT if column < last or first != 0 else 0
        )


def _character(mask: int, crossed: bool, pen: Pen) -> str:  # noqa: FBT001 (a table look-up)
    if crossed:
        mask &= _UP | _DOWN
    if not pen.ascii:
        return _UNICODE[mask]
    if mask in (0, _LEFT | _RIGHT, _LEFT, _RIGHT):
        return " " if mask == 0 else "-"
    return "|" if mask in (_UP | _DOWN, _UP, _DOWN) else "+"


def _table(drawing: Drawing, width: int, pen: Pen) -> Iterator[Line]:
    """Yield the steps level by level, each with its dependencies beside it, else below it."""
    all_levels = levels(drawing.parents())
    labels = {node.slug: _label(node, pen) for node in drawing.nodes}
    after = _sources(drawing)
    indent = len(str(len(all_levels))) + 2
    names = indent + max(map(_width, labels.values())) + 2
    longest = max((cells(name) for sources in after.values() for name in sources), default=0)
    beside = names + _AFTER + longest < width
    for number, level in enumerate(all_levels, 1):
        for slug in level:
            label = _cut(labels[slug], width - indent)
            shown = f"{number:>{indent - 2}}  " if slug == level[0] else " " * indent
            start = names if beside else indent + 4
            words = _wrapped(after[slug], width - start)
            if beside and words:
                fill = " " * (names - indent - _width(label))
                yield [(shown, ""), *label, (fill + words.pop(0), "")]
            else:
                yield _trimmed([(shown, ""), *label])
            yield from ([(" " * start + line, "")] for line in words)


def _sources(drawing: Drawing) -> dict[str, list[str]]:
    """Return the names of the dependencies of each node, by slug."""
    shown = {
        node.slug: safe(node.notes[0] if node.folded and node.notes else node.label)
        for node in drawing.nodes
    }
    sources: dict[str, list[str]] = {slug: [] for slug in shown}
    for edge in drawing.edges:
        kind = "" if edge.kind == "success" else f" ({edge.kind})"
        sources[edge.target].append(shown[edge.source] + kind)
    return sources


def _cut(line: Line, width: int) -> Line:
    """Return a line, cut with an ellipsis when it is too long."""
    if _width(line) <= width:
        return line
    kept: Line = []
    room = width - 1
    for text, status in line:
        while cells(text) > room:
            text = text[:-1]  # noqa: PLW2901 (character by character: some are two columns wide)
        kept.append((text, status))
        room -= cells(text)
    return [*kept, ("…", "")]


def _wrapped(names: Sequence[str], width: int) -> list[str]:
    """Return `after a, b, c`, wrapped to the width."""
    lines: list[str] = []
    for number, name in enumerate(names):
        room = width - _AFTER
        name = name if cells(name) <= room else f"{name[: room - 1]}…"  # noqa: PLW2901
        word = name + ("," if number < len(names) - 1 else "")
        if lines and cells(lines[-1]) + 1 + cells(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(f"{'after' if not lines else '     '} {word}")
    return lines


def _width(line: Line) -> int:
    return sum(cells(text) for text, _ in line)


def _trimmed(line: Line) -> Line:
    """Return a line without the blanks at its end."""
    kept = list(line)
    while kept and not kept[-1][0].strip():
        kept.pop()
    if kept:
        kept[-1] = (kept[-1][0].rstrip(), kept[-1][1])
    return kept
