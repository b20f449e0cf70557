"""The attempts of a task with their times: of failed ones the errors, of the last one the task."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pgflow_yaml.text import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from .snapshot import FailedAttempt, StepShape

Outcome = Literal["failed", "completed", "started", "cancelled"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt; `error` is that of a failed one. `end` of a running one is the present."""

    begin: datetime
    end: datetime
    outcome: Outcome
    error: FailedAttempt | None = None


def attempts_of(step: StepShape, errors: Iterable[FailedAttempt], now: datetime) -> list[Attempt]:
    """Return the attempts of the only task of a step in their order, those before a retry too."""
    failed = _failed(step, [error for error in errors if error["step"] == step["slug"]])
    last = _last(step, failed, now)
    return [*failed, last] if last else failed


def waits_between(
    step: StepShape, attempts: Sequence[Attempt], now: datetime
) -> list[tuple[datetime, datetime]]:
    """Return the times of a begun step in which no attempt ran: in a queue, after a failure."""
    if not step["started_at"]:
        return []
    start = moment(step["started_at"])
    end = moment(step["ended_at"]) if step["ended_at"] else now
    begin = min([start, *(attempt.begin for attempt in attempts)])
    edges = [(begin, begin), *((each.begin, each.end) for each in attempts), (end, end)]
    return [(one[1], other[0]) for one, other in pairwise(edges) if one[1] < other[0]]


def _failed(step: StepShape, errors: Sequence[FailedAttempt]) -> list[Attempt]:
    """Return the failed attempts; the beginning of one is its own, else when it was due."""
    attempts: list[Attempt] = []
    before: FailedAttempt | None = None
    for error in errors:
        end = moment(error["at"])
        past = error.get("past", False)
        due = before["retry_at"] if before and before.get("past", False) == past else None
        known = error.get("began_at") or due or (None if past else step["started_at"])
        begin = min(moment(known), end) if known else end
        begin = max(begin, attempts[-1].end) if attempts else begin
        attempts.append(Attempt(min(begin, end), end, "failed", error))
        before = error
    return attempts


def _last(step: StepShape, failed: Sequence[Attempt], now: datetime) -> Attempt | None:
    """Return the attempt that has not failed, if one runs, has completed or was cancelled."""
    outcome: Outcome
    match step["status"]:
        case "completed":
            outcome = "completed"
        case "started" if step["tasks"]["started"]:
            outcome = "started"
        case "cancelled" if step["attempts"] > sum(
            not e.error.get("past") for e in failed if e.error
        ):
            outcome = "cancelled"
        case _:
            return None
    if not step["started_at"]:
        return None
    begin = moment(step["started_at"])
    if failed and failed[-1].error:
        retry_at = failed[-1].error["retry_at"]
        begin = max(begin, failed[-1].end, moment(retry_at) if retry_at else begin)
    end = moment(step["ended_at"]) if step["ended_at"] else now
    return Attempt(min(begin, end), end, outcome)
