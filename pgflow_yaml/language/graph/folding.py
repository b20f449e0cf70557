"""Fold large drawings into small ones: nobody reads a picture of a thousand nodes.

First, steps with the same edges become one node; then levels; then runs of levels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node
from pgflow_yaml.language.graph.order import levels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgflow_yaml.language.model import Edge as EdgeKind

MOST_NODES = 200


def fold(drawing: Drawing, most: int = MOST_NODES) -> Drawing:
    """Return the drawing folded to at most `most` nodes per section."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    for part in (drawing.section("steps"), drawing.section("finally")):
        small = part
        for grouping in (_twins, _levels, _runs_of_levels):
            if len(part.nodes) > most and len(small.nodes) > most:
                small = _folded(part, grouping(part, most))
        nodes += small.nodes
        edges += small.edges
    return replace(drawing, nodes=tuple(nodes), edges=tuple(edges))


def _twins(drawing: Drawing, _most: int) -> list[list[str]]:
    """Return groups of nodes with the same edges on both sides and the same status."""
    before: dict[str, list[tuple[str, EdgeKind]]] = {node.slug: [] for node in drawing.nodes}
    after: dict[str, list[tuple[str, EdgeKind]]] = {node.slug: [] for node in drawing.nodes}
    for edge in drawing.edges:
        before[edge.target].append((edge.source, edge.kind))
        after[edge.source].append((edge.target, edge.kind))
    groups: dict[object, list[str]] = {}
    for node in drawing.nodes:
        sides = (frozenset(before[node.slug]), frozenset(after[node.slug]))
        groups.setdefault((sides, node.status), []).append(node.slug)
    return list(groups.values())


def _levels(drawing: Drawing, _most: int) -> list[list[str]]:
    return levels(drawing.parents())


def _runs_of_levels(drawing: Drawing, most: int) -> list[list[str]]:
    all_levels = levels(drawing.parents())
    size = -(-len(all_levels) // most)
    runs = [all_levels[at : at + size] for at in range(0, len(all_levels), size)]
    return [[slug for level in run for slug in level] for run in runs]


def _folded(drawing: Drawing, groups: Sequence[Sequence[str]]) -> Drawing:
    by_slug = {node.slug: node for node in drawing.nodes}
    home = {slug: group[0] for group in groups for slug in group}
    nodes = [_one([by_slug[slug] for slug in group]) for group in groups]
    edges: dict[tuple[str, str], Edge] = {}
    for edge in drawing.edges:
        source, target = home[edge.source], home[edge.target]
        if source != target:
            known = edges.get((source, target))
            kind: EdgeKind = edge.kind if known is None or known.kind == edge.kind else "any"
            edges[source, target] = Edge(source=source, target=target, kind=kind)
    return replace(drawing, nodes=tuple(nodes), edges=tuple(edges.values()))


def _one(nodes: Sequence[Node]) -> Node:
    if len(nodes) == 1:
        return nodes[0]
    return replace(
        nodes[0],
        label=f"{len(nodes):,} steps",
        notes=(f"{nodes[0].label} … {nodes[-1].label}",),
        status=_worst(node.status for node in nodes),
        folded=tuple(node.slug for node in nodes),
    )


def _worst(statuses: Iterable[str | None]) -> str | None:
    """Return the status that a reader must see first."""
    present = set(statuses)
    ranks = ("failed", "started", "waiting", "cancelled", "created", "completed", "skipped")
    return next((status for status in ranks if status in present), None)
