"""The figures of a chaos run: a table for the terminal and for the page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BEGIN = "<!-- figures: written by make chaos, do not edit -->"
END = "<!-- end of the figures -->"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    goal: str
    what: str
    wanted: str
    measured: str
    met: bool


def at_most(goal: str, what: str, measured: float, limit: float, unit: str) -> Figure:
    """Return a figure that may not exceed a limit."""
    return Figure(goal, what, f"≤ {limit:g}{unit}", f"{measured:.3g}{unit}", measured <= limit)


def at_least(goal: str, what: str, measured: int, limit: int) -> Figure:
    """Return a number of trials that must have been made."""
    return Figure(goal, what, f"≥ {limit:,}", f"{measured:,}", measured >= limit)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def table(figures: Iterable[Figure]) -> str:
    """Format the figures as Markdown."""
    lines = ["| Goal | What | Wanted | Measured | |", "|---|---|---|---|---|"]
    lines += [
        f"| {f.goal} | {f.what} | {f.wanted} | {f.measured} | {'met' if f.met else 'missed'} |"
        for f in figures
    ]
    return "\n".join(lines)


def page(text: str, head: str, figures: Iterable[Figure]) -> str:
    """Return the text of a page with new figures between its marks."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the page needs one line {BEGIN!r} and after it one line {END!r}")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    return before + "\n\n".join([BEGIN, head, table(figures), END]) + after
