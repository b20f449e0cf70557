"""The items of a map as a whole: two letters each, and how many of them ran at the same time.

The first letter is the status; the second is the number of attempts, `+` for ten and more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ITEM_STATUSES: Mapping[str, str] = {
    "-": "created",
    "q": "queued",
    "r": "started",
    "c": "completed",
    "f": "failed",
    "x": "cancelled",
    "s": "skipped",
}
TRIED_ONCE = frozenset("01")


class DensityShape(TypedDict):
    """The number of items of a map that ran at once, in each of equal parts of a time."""

    begin: str
    end: str
    running: Sequence[int]
