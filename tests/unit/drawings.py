"""Drawings for tests: from a few words, or at random; and a text picture read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_UP, _RIGHT, _DOWN = (0, -1), (1, 0), (0, 1)
_LEADS = {
    "─": {_RIGHT},
    "╭": {_RIGHT, _DOWN},
    "╰": {_RIGHT, _UP},
    "╮": {_DOWN},
    "╯": {_UP},
    "├": {_RIGHT, _UP, _DOWN},
    "┤": {_UP, _DOWN},
    "┬": {_RIGHT, _DOWN},
    "┴": {_RIGHT, _UP},
    "┼": {_RIGHT, _UP, _DOWN},
}


def a_drawing(**parents: str) -> Drawing:
    """A drawing of these nodes, each with its dependencies, separated by blanks."""
    return Drawing(
        flow="drawn",
        nodes=tuple(Node(slug=slug, label=slug) for slug in parents),
        edges=tuple(
            Edge(source=source, target=slug)
            for slug, sources in parents.items()
            for source in sources.split()
        ),
    )


def drawings(most: int = 12) -> st.SearchStrategy[Drawing]:
    """Random ones without cycles; names of different lengths."""

    def build(raw: Sequence[Iterable[int]]) -> Drawing:
        names = [f"n{number}" * (1 + number % 3) for number in range(len(raw))]
        parents = {
            names[number]: " ".join(sorted(names[index] for index in set(chosen) if index < number))
            for number, chosen in enumerate(raw)
        }
        return a_drawing(**parents)

    numbers = st.integers(0, most - 1)
    return st.lists(st.lists(numbers, max_size=3), min_size=1, max_size=most).map(build)


def read_back(lines: Sequence[str], names: Iterable[str]) -> set[tuple[str, str]]:
    """Follow every line of a picture from each name, wherever it may seem to lead."""
    where = {}
    for y, line in enumerate(lines):
        for x, word in _words(line):
            where[x, y] = word
    assert sorted(where.values()) == sorted(names)
    return {
        (source, target)
        for (x, y), source in where.items()
        for target in _reached(lines, where, x + len(source) + 1, y)
    }


def _words(line: str) -> Iterable[tuple[int, str]]:
    start = None
    for x, character in enumerate(line + " "):
        inside = character.isalnum() or character == "_"
        if inside and start is None:
            start = x
        if not inside and start is not None:
            yield start, line[start:x]
            start = None


def _reached(
    lines: Sequence[str], where: dict[tuple[int, int], str], x: int, y: int
) -> Iterable[str]:
    seen = set()
    pending = [(x, y, _RIGHT)]
    while pending:
        at = pending.pop()
        if at in seen:
            continue
        seen.add(at)
        x, y, way = at
        character = lines[y][x] if 0 <= y < len(lines) and x < len(lines[y]) else " "
        if way == _RIGHT and (x + 1, y) in where and character == " ":
            yield where[x + 1, y]
        # A line across another one goes straight on.
        ways = {way} if character == "│" else _LEADS.get(character, set())
        back = (-way[0], -way[1])
        pending += [(x + dx, y + dy, (dx, dy)) for dx, dy in ways if (dx, dy) != back]
