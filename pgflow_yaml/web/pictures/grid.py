"""The grid of a map: a cell an item, in rows; a path a status, of runs of equal neighbours.

The most frequent status is the ground of the grid and needs no path, so that the picture of 10,000
items stays small.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.markup import escaped, word
from pgflow_yaml.runs.items import ITEM_STATUSES, TRIED_ONCE
from pgflow_yaml.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WIDEST = 200
_MOST_ROWS_OF = ((20, 3), (50, 10), (100, 20))
"""A grid of fewer columns is used up to a number of rows: small maps have large cells."""


def grid(items: str, *, name: str = "items") -> str:
    """Return the picture of items in two letters each (`runs/items.py`); `name` begins its ids.

    `data-columns` says how a place becomes an index: a cell is one unit wide and high.
    """
    statuses = items[::2]
    columns = _columns(len(statuses))
    rows = -(-len(statuses) // columns)
    counts = Counter(ITEM_STATUSES[letter] for letter in statuses)
    ground = counts.most_common(1)[0][0] if counts else "created"
    paths = []
    for letter, status in ITEM_STATUSES.items():
        if counts[status] and status != ground:
            path = _path(statuses, letter, columns)
            paths.append(f'<path class="pg-cells pg-{status}" d="{path}"/>')
    again = "".join("." if letter in TRIED_ONCE else "r" for letter in items[1::2])
    if again := _path(again, "r", columns):
        paths.append(f'<path class="pg-again" d="{again}"/>')
    name = escaped(name)
    return "\n".join(
        [
            (
                f'<svg class="pg-grid pg-of-{columns}" id="{name}" viewBox="0 0 {columns} {rows}" '
                f'data-columns="{columns}" role="img" aria-label="{_words(counts)}">'
            ),
            (
                f'<defs><pattern id="{name}-lines" width="1" height="1" '
                'patternUnits="userSpaceOnUse"><path class="pg-lines" d="M0 0H1M0 0V1"/></pattern>'
                "</defs>"
            ),
            f'<path class="pg-ground pg-{ground}" d="{_ground(len(statuses), columns)}"/>',
            f'<g transform="translate(0 .5)">{"".join(paths)}</g>',
            f'<rect width="{columns}" height="{rows}" fill="url(#{name}-lines)"/>',
            "</svg>",
        ]
    )


def _columns(count: int) -> int:
    return next((wide for wide, rows in _MOST_ROWS_OF if count <= wide * rows), _WIDEST)


def _words(counts: Counter[str]) -> str:
    each = ", ".join(f"{count:,} {word(status)}" for status, count in counts.most_common())
    return f"{plural(counts.total(), 'item')}: {each}" if each else plural(0, "item")


def _ground(count: int, columns: int) -> str:
    """Return the outline of all cells; the last row may be shorter."""
    full, rest = divmod(count, columns)
    last = f"M0 {full}h{rest}v1h-{rest}z" if rest else ""
    return (f"M0 0h{columns}v{full}h-{columns}z" if full else "") + last


def _path(letters: str, wanted: str, columns: int) -> str:
    """Return lines through the cells with a letter; each begins where the one before ended."""
    parts: list[str] = []
    at = (0, 0)
    for row, begin, length in _runs(letters, wanted, columns):
        x, y = begin - at[0], row - at[1]
        # A minus sign separates numbers as well as a blank does.
        parts.append(f"m{x}{y if y < 0 else f' {y}'}h{length}")
        at = (begin + length, row)
    return "".join(parts)


def _runs(letters: str, wanted: str, columns: int) -> Iterator[tuple[int, int, int]]:
    """Yield row, column and length of each run of a letter; a run ends with its row."""
    for row, start in enumerate(range(0, len(letters), columns)):
        column = 0
        for letter, group in groupby(letters[start : start + columns]):
            length = _count(group)
            if letter == wanted:
                yield row, column, length
            column += length


def _count(group: Iterable[str]) -> int:
    return sum(1 for _ in group)
