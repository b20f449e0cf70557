"""Route the lines between two layers of a text picture, so that each can be read in one way only.

Cells that link to exactly the same cells share a wire: horizontal pieces from its sources, one
vertical piece in a channel, horizontal pieces to its targets. On a row that one wire leaves and
another enters, the first must turn before the second arrives. Where wires meet, only the first may
also lead elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.order import levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.language.graph.layout import Cell, Layout


@dataclass(slots=True, kw_only=True)
class Wire:
    """Line with several ends; sources and targets are rows."""

    sources: list[int]
    targets: list[int]
    channel: int = 0
    """The column of the gap that has its vertical piece."""

    @property
    def top(self) -> int:
        """The uppermost row of the wire."""
        return min(*self.sources, *self.targets)

    @property
    def bottom(self) -> int:
        """The lowest row of the wire."""
        return max(*self.sources, *self.targets)


@dataclass(slots=True, kw_only=True)
class Gap:
    """Space between two layers."""

    wires: list[Wire]
    width: int
    bends: list[int] = field(default_factory=list)
    """Rows on which a line continues through the next layer."""


def route(layout: Layout) -> list[Gap] | None:
    """Return the gaps of a layout; None where lines could not be told apart."""
    gaps = []
    for layer, following in pairwise(layout.layers):
        wires = _wires(layout, layer)
        columns = _channels(wires)
        if columns is None:
            return None
        bends = [layout.lines[cell] for cell in following if isinstance(cell, tuple)]
        gaps.append(Gap(wires=wires, width=2 * max(columns, 1) + 1, bends=bends))
    return gaps


def _wires(layout: Layout, layer: Sequence[Cell]) -> list[Wire]:
    by_targets: dict[frozenset[Cell], list[Cell]] = {}
    for cell in layer:
        if layout.links[cell]:
            by_targets.setdefault(frozenset(layout.links[cell]), []).append(cell)
    return [
        Wire(
            sources=sorted(layout.lines[cell] for cell in sources),
            targets=sorted(layout.lines[cell] for cell in targets),
        )
        for targets, sources in by_targets.items()
    ]


def _channels(wires: Sequence[Wire]) -> int | None:
    """Assign a column to each wire; return the number of columns, or None when there is no way."""
    before = _constraints(wires)
    if before is None:
        return None
    sorted_levels = levels(before)
    if sum(map(len, sorted_levels)) < len(wires):
        return None
    columns: dict[str, int] = {}
    taken: dict[int, list[tuple[int, int]]] = {}
    for name in (name for level in sorted_levels for name in level):
        wire = wires[int(name)]
        column = max((columns[other] + 1 for other in before[name]), default=0)
        while any(wire.top <= low and high <= wire.bottom for high, low in taken.get(column, ())):
            column += 1
        columns[name] = column
        taken.setdefault(column, []).append((wire.top, wire.bottom))
        wire.channel = 2 * column + 1
    return 1 + max(columns.values(), default=-1)


def _constraints(wires: Sequence[Wire]) -> dict[str, set[str]] | None:
    """Return for each wire (by its number) those that must turn further left."""
    before: dict[str, set[str]] = {str(number): set() for number in range(len(wires))}
    leaving = {row: str(number) for number, wire in enumerate(wires) for row in wire.sources}
    entering: dict[int, list[str]] = {}
    for number, wire in enumerate(wires):
        for row in wire.targets:
            entering.setdefault(row, []).append(str(number))
    for row, names in entering.items():
        branching = [name for name in names if len(wires[int(name)].targets) > 1]
        if len(branching) > 1:
            return None
        for name in names:
            before[name].update(({leaving[row]} if row in leaving else set()) | set(branching))
            before[name].discard(name)
    return before
