"""What is asked of us, beside what was measured: a target each, a floor where one blocks.

A module with figures of its own (growth, several workers) offers

    def sections(server: Server, *, short: bool = False) -> list[Target]

and `bench-all` calls it when the peers are done: `server` is `server.Server`, running and idle,
with `fresh` and `drop` for databases; `short` asks for sizes that a test can wait for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Verdict = Literal["met", "missed", "below the floor", "not measured"]


@dataclass(frozen=True, slots=True)
class Target:
    """One figure, what is wanted of it, and what it must not fall below."""

    name: str
    figure: float | None
    target: float
    floor: float | None
    better: Literal["more", "less"]
    unit: str = ""
    spread: tuple[float, float] | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the figure reaches the target, only the floor, or neither."""
        if self.figure is None:
            return "not measured"
        if self._reaches(self.target):
            return "met"
        if self.floor is not None and not self._reaches(self.floor):
            return "below the floor"
        return "missed"

    def _reaches(self, bound: float) -> bool:
        # A figure that cannot be measured (None) reaches nothing; a NaN does not either.
        if self.figure is None:
            return False
        return self.figure >= bound if self.better == "more" else self.figure <= bound

    def as_row(self) -> dict[str, Any]:
        """The fields and the verdict, for JSON."""
        return {**asdict(self), "verdict": self.verdict}


def target_table(targets: Iterable[Target]) -> str:
    """One line for each target, as Markdown."""
    lines = ["| | ours | spread | target | floor | |", "|---|---|---|---|---|---|"]
    for target in targets:
        sign = "≥" if target.better == "more" else "≤"
        cells = [target.name, _shown(target.figure, target.unit)]
        ends = [_number(end) for end in target.spread or ()]
        cells.append(" to ".join(ends) if len(set(ends)) == 2 else "")
        cells.append(f"{sign} {_shown(target.target, target.unit)}")
        cells.append("" if target.floor is None else f"{sign} {_shown(target.floor, target.unit)}")
        lines.append("| " + " | ".join([*cells, target.verdict]) + " |")
    return "\n".join(lines)


def floor_missed(targets: Iterable[Target]) -> bool:
    """Whether any figure is below its floor."""
    return any(target.verdict == "below the floor" for target in targets)


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    """Three significant digits; thousands with a comma."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
