"""The rows of a timeline: what each step of a run did, in seconds since the earliest of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.markup import word
from pgflow_yaml.runs.attempts import attempts_of, waits_between
from pgflow_yaml.runs.failures import failure_handling
from pgflow_yaml.runs.run import began_at
from pgflow_yaml.runs.steps import attempt, condition, is_wide, item, seconds
from pgflow_yaml.text import duration, error_text, moment

from .axis import Axis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pgflow_yaml.runs.items import DensityShape
    from pgflow_yaml.runs.snapshot import FailedAttempt, Snapshot, StepShape

    from .axis import Span

MOST_ROWS = 200
# Those of which a reader wants to know first stay where there are too many rows.
_FIRST = ("failed", "caught", "retrying", "started", "repeating", "waiting", "cancelled")


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a row: an attempt, or a wait (`kind` is "wait"); `words` say what it was."""

    span: Span
    kind: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The row of a step; `failures` have the end of each failed attempt and its words."""

    slug: str
    condition: str
    length: str
    bars: Sequence[Bar]
    failures: Sequence[tuple[float, str]]
    density: tuple[Span, Sequence[int]] | None

    @property
    def span(self) -> Span:
        """The time from the first bar to the last."""
        return min(bar.span[0] for bar in self.bars), max(bar.span[1] for bar in self.bars)


class Chart:
    """The rows of a run in order of beginning, at most 200, and the axis for them."""

    def __init__(self, snapshot: Snapshot, densities: Mapping[str, DensityShape]) -> None:
        self._now = moment(snapshot["now"])
        self._densities = densities
        self._handling = failure_handling(snapshot)
        self._errors: dict[str, list[FailedAttempt]] = {}
        for error in snapshot["errors"]:
            self._errors.setdefault(error["step"], []).append(error)
        run = snapshot["run"]
        begun = [step for step in snapshot["steps"] if step["started_at"]]
        stamps = [began_at(run), *(error["at"] for error in snapshot["errors"])]
        stamps += [step["started_at"] or "" for step in begun]
        stamps += [began for error in snapshot["errors"] if (began := error.get("began_at"))]
        self._zero = min(map(moment, stamps))
        every = [self._row(step) for step in begun]
        self.rows = _most_important(every)
        self.left_out = len(every) - len(self.rows)
        end = moment(run["ended_at"]) if run["ended_at"] else self._now
        length = max([self._since(end), *(row.span[1] for row in every)])
        busy = [bar.span for row in every for bar in row.bars if bar.kind != "wait"]
        self.axis = Axis(length, busy)

    def _since(self, time: datetime) -> float:
        return max((time - self._zero).total_seconds(), 0.0)

    def _row(self, step: StepShape) -> Row:
        slug = step["slug"]
        known = condition(step, self._now, self._handling.get(slug))
        errors = self._errors.get(slug, [])
        density = self._densities.get(slug)
        return Row(
            slug=slug,
            condition=known,
            length=duration(seconds(step, self._now) or 0),
            bars=self._bars(step, errors, known),
            failures=[(self._since(moment(each["at"])), _failure(step, each)) for each in errors],
            density=density and (self._span(density["begin"], density["end"]), density["running"]),
        )

    def _span(self, begin: str, end: str) -> Span:
        return self._since(moment(begin)), self._since(moment(end))

    def _bars(self, step: StepShape, errors: Sequence[FailedAttempt], known: str) -> list[Bar]:
        begin = moment(step["started_at"] or "")
        end = moment(step["ended_at"]) if step["ended_at"] else self._now
        attempts = [] if is_wide(step) else attempts_of(step, errors, self._now)
        if is_wide(step) or step["action"] != "handler" or not attempts:
            waits = step["action"] == "wait" or known in {"waiting", "retrying"}
            queued = step["status"] == "started" and not step["tasks"]["started"]
            return [self._bar(begin, end, "wait" if waits or queued else known, known)]
        bars = [
            self._bar(each.begin, each.end, each.outcome, _failure(step, each.error))
            if each.error
            else self._bar(each.begin, each.end, each.outcome, each.outcome)
            for each in attempts
        ]
        between = waits_between(step, attempts, self._now)
        return bars + [self._bar(begin, end, "wait", "waits") for begin, end in between]

    def _bar(self, begin: datetime, end: datetime, kind: str, words: str) -> Bar:
        length = duration((end - begin).total_seconds())
        return Bar((self._since(begin), self._since(end)), kind, f"{word(words)}, {length}")


def _failure(step: StepShape, error: FailedAttempt) -> str:
    index = item(step, error)
    return f"{index} {attempt(step, error['attempt'])}: {error_text(error)}".strip()


def _most_important(every: Sequence[Row]) -> list[Row]:
    by_begin = sorted(every, key=lambda row: row.span)
    if len(by_begin) <= MOST_ROWS:
        return by_begin
    ranks = {known: rank for rank, known in enumerate(_FIRST)}
    kept = sorted(by_begin, key=lambda row: ranks.get(row.condition, len(ranks)))[:MOST_ROWS]
    return sorted(kept, key=lambda row: row.span)
