"""Order of steps: cycles, levels, ancestors. All are linear in steps and edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Edges = Mapping[str, Iterable[str]]
"""Each step with the steps it depends on; unknown ones must be left out."""


def levels(edges: Edges) -> list[list[str]]:
    """Return the steps by level: each is one level below its lowest dependency.

    Within a level the order is that of the mapping. Steps on or below a cycle are left out.
    """
    level: dict[str, int] = {}
    for step in _in_order(edges):
        level[step] = 1 + max((level[parent] for parent in edges[step]), default=-1)
    result: list[list[str]] = [[] for _ in range(1 + max(level.values(), default=-1))]
    for step in edges:
        if step in level:
            result[level[step]].append(step)
    return result


def cycles(edges: Edges) -> list[list[str]]:
    """Return disjoint cycles: in each, every step depends on the next and the last on the first."""
    left = set(edges) - set(_in_order(edges))
    result: list[list[str]] = []
    done: set[str] = set()
    for first in edges:
        walk: dict[str, int] = {}
        step = first
        while step in left and step not in done and step not in walk:
            walk[step] = len(walk)
            # Each step left has a dependency left, else it would have been ordered.
            step = next(parent for parent in edges[step] if parent in left)
        if step in walk:
            result.append(list(walk)[walk[step] :])
        done.update(walk)
    return result


def as_listed(steps: Iterable[str], order: Iterable[str]) -> list[str]:
    """Return steps in the order of a definition: JSON in the database loses the file's order."""
    ranks = {step: rank for rank, step in enumerate(order)}
    return sorted(steps, key=lambda step: ranks.get(step, len(ranks)))


class Ancestors:
    """Set of all steps that come before each step, as one bit per step."""

    def __init__(self, edges: Edges) -> None:
        """Compute all of them; those of steps on or below a cycle are searched on demand."""
        self._edges = edges
        self._bit = {step: 1 << number for number, step in enumerate(edges)}
        self._above: dict[str, int] = {}
        for step in _in_order(edges):
            bits = 0
            for parent in edges[step]:
                bits |= self._bit[parent] | self._above[parent]
            self._above[step] = bits

    def includes(self, ancestor: str, *, of: str) -> bool:
        """Return True when `ancestor` comes before `of`."""
        if of not in self._above:
            self._above[of] = self._search(of)
        return bool(self._above[of] & self._bit.get(ancestor, 0))

    def _search(self, step: str) -> int:
        bits = 0
        pending = list(self._edges[step])
        while pending:
            parent = pending.pop()
            if not bits & self._bit[parent]:
                bits |= self._bit[parent]
                pending.extend(self._edges[parent])
        return bits


def _in_order(edges: Edges) -> list[str]:
    """Return the steps, dependencies first; those on or below a cycle are left out."""
    waiting = {step: len(set(parents)) for step, parents in edges.items()}
    children: dict[str, list[str]] = {step: [] for step in edges}
    for step, parents in edges.items():
        for parent in set(parents):
            children[parent].append(step)
    ready = [step for step, count in waiting.items() if not count]
    for step in ready:
        for child in children[step]:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    return ready
