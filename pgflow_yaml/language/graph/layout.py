"""Lay out a drawing: layers from left to right, rows from top to bottom.

A step is one layer right of its last dependency. Edges over several layers pass through bends,
which have a row of their own in each layer between; edges from one node share their bends.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.order import levels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgflow_yaml.language.graph.drawing import Drawing, Edge

_SWEEPS = 4
_MANY_BENDS = 2_000
_STRAIGHT = 8.0

Cell = str | tuple[str, int]
"""A node by its slug, or a bend: the node whose edges it carries, and its layer."""


@dataclass(slots=True)
class Layout:
    """Layers of cells in order, the row of each cell, and the cells of each edge."""

    layers: list[list[Cell]]
    links: dict[Cell, list[Cell]]
    """The cells of the next layer that each cell leads to."""
    routes: list[tuple[Edge, list[Cell]]]
    rows: dict[Cell, float] = field(default_factory=dict)
    lines: dict[Cell, int] = field(default_factory=dict)
    """Rows as whole numbers, for text."""


def lay_out(drawing: Drawing) -> Layout:
    """Return the layout of one section; rows of a layer are at least 1 apart, from 0 on."""
    parents = drawing.parents()
    layers = levels(parents)
    layer_of = {slug: number for number, layer in enumerate(layers) for slug in layer}
    edges = _drawn(drawing.edges, layer_of, parents)
    layout = Layout(layers=[list(layer) for layer in layers], links={}, routes=[])
    _connect(layout, edges, layer_of)
    _order(layout)
    _assign_rows(layout)
    return layout


def _drawn(
    edges: Sequence[Edge], layer_of: Mapping[str, int], parents: Mapping[str, Sequence[str]]
) -> list[Edge]:
    """Return the edges to draw: without those that others imply where too many are long."""
    reach: dict[str, int] = {}
    for edge in edges:
        length = layer_of[edge.target] - layer_of[edge.source] - 1
        reach[edge.source] = max(reach.get(edge.source, 0), length)
    if sum(reach.values()) <= _MANY_BENDS:
        return list(edges)
    bit = {slug: 1 << number for number, slug in enumerate(layer_of)}
    above: dict[str, int] = {}
    for slug in sorted(layer_of, key=layer_of.__getitem__):
        above[slug] = 0
        for parent in parents[slug]:
            above[slug] |= above[parent] | bit[parent]
    implied = dict.fromkeys(layer_of, 0)
    for slug, sources in parents.items():
        for parent in sources:
            implied[slug] |= above[parent]
    return [e for e in edges if e.kind != "success" or not implied[e.target] & bit[e.source]]


def _connect(layout: Layout, edges: Sequence[Edge], layer_of: Mapping[str, int]) -> None:
    links: dict[Cell, dict[Cell, None]] = defaultdict(dict)
    known: set[Cell] = set(layer_of)
    for edge in edges:
        first, last = layer_of[edge.source], layer_of[edge.target]
        bends: list[Cell] = [(edge.source, layer) for layer in range(first + 1, last)]
        route: list[Cell] = [edge.source, *bends, edge.target]
        for layer, bend in enumerate(bends, first + 1):
            if bend not in known:
                known.add(bend)
                layout.layers[layer].append(bend)
        for one, other in pairwise(route):
            links[one][other] = None
        layout.routes.append((edge, route))
    layout.links = {cell: list(links.get(cell, ())) for cell in known}


def _order(layout: Layout) -> None:
    """Sort each layer by its neighbours, back and forth; keep the order with fewest crossings."""
    back = _backwards(layout)
    best, least = [list(layer) for layer in layout.layers], _crossings(layout)
    for sweep in range(_SWEEPS):
        if not least:
            break
        forth = sweep % 2 == 0
        layers = layout.layers if forth else layout.layers[::-1]
        neighbours = back if forth else layout.links
        for fixed, layer in pairwise(layers):
            at = {cell: number for number, cell in enumerate(fixed)}
            old = {cell: number for number, cell in enumerate(layer)}
            layer.sort(key=lambda cell: _mean([at[n] for n in neighbours[cell]], old[cell]))
        crossings = _crossings(layout)
        if crossings < least:
            best, least = [list(layer) for layer in layout.layers], crossings
    layout.layers = best


def _backwards(layout: Layout) -> dict[Cell, list[Cell]]:
    back: dict[Cell, list[Cell]] = {cell: [] for cell in layout.links}
    for cell, targets in layout.links.items():
        for target in targets:
            back[target].append(cell)
    return back


def _mean(numbers: Sequence[float], otherwise: float) -> float:
    return sum(numbers) / len(numbers) if numbers else otherwise


def _crossings(layout: Layout) -> int:
    """Return the number of pairs of links that cross."""
    total = 0
    for layer, following in pairwise(layout.layers):
        at = {cell: number for number, cell in enumerate(following)}
        seen: list[int] = []
        for cell in layer:
            ends = sorted(at[target] for target in layout.links[cell])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _assign_rows(layout: Layout) -> None:
    """Move each cell towards its neighbours; keep the order and the distances in its layer."""
    back = _backwards(layout)
    rows = layout.rows
    for layer in layout.layers:
        rows.update((cell, float(number)) for number, cell in enumerate(layer))
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        neighbours = back if forth else layout.links
        for layer in layout.layers if forth else layout.layers[::-1]:
            wanted = [_mean([rows[n] for n in neighbours[cell]], rows[cell]) for cell in layer]
            weights = [_weight(cell, neighbours[cell]) for cell in layer]
            rows.update(zip(layer, _spread(wanted, weights), strict=True))
    top = min(rows.values(), default=0.0)
    for cell in rows:
        rows[cell] -= top
    for layer in layout.layers:
        # The line of a single dependency is straight; others are as straight as whole rows allow.
        wanted = [
            float(layout.lines[back[cell][0]]) if len(back[cell]) == 1 else rows[cell]
            for cell in layer
        ]
        weights = [_weight(cell, back[cell]) for cell in layer]
        spread = _spread(wanted, weights, whole=True)
        layout.lines.update((cell, round(row)) for cell, row in zip(layer, spread, strict=True))
    lowest = min(layout.lines.values(), default=0)
    used = sorted({line - lowest for line in layout.lines.values()})
    packed = {line: number for number, line in enumerate(used)}
    layout.lines = {cell: packed[line - lowest] for cell, line in layout.lines.items()}


def staggered(layout: Layout) -> Iterator[Layout]:
    """Yield the layout, then with bends, then with every second layer, on rows of their own.

    Text has few ways to draw lines; more rows give it more.
    """
    yield layout
    bends = {cell for cell in layout.lines if isinstance(cell, tuple)}
    every_second = {cell for layer in layout.layers[1::2] for cell in layer}
    for lower in (bends, every_second):
        lines = {cell: 2 * line + (cell in lower) for cell, line in layout.lines.items()}
        packed = {line: number for number, line in enumerate(sorted(set(lines.values())))}
        yield replace(layout, lines={cell: packed[line] for cell, line in lines.items()})


def _weight(cell: Cell, neighbours: Sequence[Cell]) -> float:
    """Return the pull of a cell; it is strongest for bends, as long edges should be straight."""
    if not neighbours:
        return 0.1
    return _STRAIGHT if isinstance(cell, tuple) else 1.0


def _spread(
    wanted: Sequence[float], weights: Sequence[float], *, whole: bool = False
) -> list[float]:
    """Return the rows nearest to the wanted ones that are in order and at least 1 apart.

    Neighbours that would be too close form a block, which is placed at its weighted mean.
    """
    blocks: list[tuple[float, float, int]] = []  # sum of weighted offsets, weight, size
    for number, (row, weight) in enumerate(zip(wanted, weights, strict=True)):
        blocks.append(((row - number) * weight, weight, 1))
        while len(blocks) > 1 and _start(blocks[-2]) >= _start(blocks[-1]):
            last, before = blocks.pop(), blocks.pop()
            blocks.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    rows: list[float] = []
    for block in blocks:
        start = _start(block)
        start = float(int(start + 0.5) if start >= 0 else -int(0.5 - start)) if whole else start
        rows += [start + len(rows) + number for number in range(block[2])]
    return rows


def _start(block: tuple[float, float, int]) -> float:
    return block[0] / block[1]
