"""The time axis of a timeline: in percent of its width, with long gaps broken.

A retry two days later would make all bars invisible. So a stretch in which nothing ran takes a
narrow band if it is much longer than everything that is shorter than it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TIMES_LONGER = 8
_BAND, _ALL_BANDS = 5.0, 40.0
_TICKS, _MOST_TICKS, _APART, _APART_FROM_0 = 5, 10, 17.0, 11.0
# Seconds between two ticks that a reader can count in.
_STEPS = (
    *(m * 10.0**e for e in range(-3, 1) for m in (1, 2, 5)),
    *(10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200),
    *(86_400.0 * days for days in (1, 2, 7, 14, 28, 91, 182, 364)),
)

Span = tuple[float, float]
"""The begin and end of something, in seconds since the beginning of the axis."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time and where it is drawn, in percent."""

    begin: float
    end: float
    left: float
    right: float
    broken: bool = False


class Tick(NamedTuple):
    """A time and where it is drawn; `later` ones count from the end of the gap before them."""

    seconds: float
    where: float
    later: bool


class Axis:
    """The pieces of the axis from 0 to 100 percent."""

    def __init__(self, length: float, busy: Iterable[Span]) -> None:
        self.length = max(length, 0.001)
        # What goes beyond the end is cut off there: clocks differ.
        cut = [(min(begin, self.length), min(end, self.length)) for begin, end in busy]
        self.pieces = _pieces(self.length, cut)
        self._begins = [piece.begin for piece in self.pieces]

    def at(self, seconds: float) -> float:
        """Return where a time is drawn, in percent."""
        piece = self.pieces[max(bisect_right(self._begins, seconds) - 1, 0)]
        share = (seconds - piece.begin) / (piece.end - piece.begin)
        return piece.left + min(max(share, 0.0), 1.0) * (piece.right - piece.left)

    def breaks(self) -> list[Piece]:
        """Return the broken gaps."""
        return [piece for piece in self.pieces if piece.broken]

    def ticks(self) -> list[Tick]:
        """Return the times to be named on the axis; they stand apart.

        Behind a gap, the first is the time since the beginning, and others count from there.
        """
        whole = [piece for piece in self.pieces if not piece.broken]
        seconds = sum(piece.end - piece.begin for piece in whole)
        step = next((step for step in _STEPS if seconds / step <= _TICKS), _STEPS[-1])
        named: list[Piece] = []
        for piece in whole:
            room = _APART if named[1:] else _APART_FROM_0
            # What counts from a time that is not named would say nothing.
            if not named or piece.left - named[-1].left >= room:
                named.append(piece)
        found: list[Tick] = []
        for piece, following in zip_longest(named, named[1:]):
            found.append(Tick(piece.begin, piece.left, later=False))
            limit = following.left - _APART if following else 100.0
            count = int((piece.end - piece.begin) / step)
            for number in range(1, min(count, _MOST_TICKS) + 1):
                where = self.at(piece.begin + number * step)
                if found[-1].where + _APART <= where <= limit:
                    found.append(Tick(number * step, where, later=piece.begin > 0))
        return found


def _pieces(length: float, busy: Sequence[Span]) -> list[Piece]:
    idle = _idle(length, busy)
    broken = _too_long(length, idle)
    edges = sorted({0.0, length, *(edge for gap in broken for edge in gap)})
    band = min(_BAND, _ALL_BANDS / len(broken)) if broken else 0.0
    # Summed, not what the gaps leave of the length: a short stretch would drown in rounding.
    seconds = sum(end - begin for begin, end in pairwise(edges) if (begin, end) not in broken)
    room = 100.0 - band * len(broken)
    pieces: list[Piece] = []
    left = 0.0
    for begin, end in pairwise(edges):
        is_broken = (begin, end) in broken
        right = left + (band if is_broken else (end - begin) / seconds * room)
        pieces.append(Piece(begin, end, left, right, is_broken))
        left = right
    return pieces


def _idle(length: float, busy: Iterable[Span]) -> list[Span]:
    """Return the stretches in which nothing is busy."""
    idle: list[Span] = []
    reached = 0.0
    for begin, end in sorted(busy):
        if begin > reached:
            idle.append((reached, begin))
        reached = max(reached, end)
    if reached < length:
        idle.append((reached, length))
    return idle


def _too_long(length: float, idle: Sequence[Span]) -> set[Span]:
    """Return the stretches that are many times as long as all that is shorter than them."""
    by_length = sorted(idle, key=lambda gap: gap[1] - gap[0])
    ends, begins = [0.0, *(end for _, end in idle)], [*(begin for begin, _ in idle), length]
    shown = sum(begin - end for end, begin in zip(ends, begins, strict=True))
    if shown <= 0:
        return set()
    for number, (begin, end) in enumerate(by_length):
        if end - begin > _TIMES_LONGER * shown:
            return set(by_length[number:])
        shown += end - begin
    return set()
