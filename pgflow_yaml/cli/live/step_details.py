"""The words beside the name of a step in the live view, and the facts that rows need for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgflow_yaml.runs import steps
from pgflow_yaml.runs.failures import FailureHandling, failure_handling
from pgflow_yaml.runs.run import run_name
from pgflow_yaml.runs.waits import answer, wait
from pgflow_yaml.text import cells, elapsed, one_line, roughly

from .symbols import STYLES, Frame, Segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgflow_yaml.runs.snapshot import FailedAttempt, RunShape, Snapshot, StepShape


@dataclass(frozen=True, slots=True, kw_only=True)
class RowContext:
    """The facts that a row of the picture may need in addition to those of its own step."""

    frame: Frame
    run: RunShape
    errors: Mapping[str, FailedAttempt] = field(default_factory=dict)
    handling: Mapping[str, FailureHandling] = field(default_factory=dict)
    every: Mapping[str, StepShape] = field(default_factory=dict)

    def condition(self, step: StepShape) -> steps.Condition:
        """Return the condition of a step, which determines its symbol and style."""
        return steps.condition(step, self.frame.now, self.handling.get(step["slug"]))


def row_context(
    snapshot: Snapshot, frame: Frame, errors: Mapping[str, FailedAttempt] | None
) -> RowContext:
    """Return the facts for the rows of a picture."""
    return RowContext(
        frame=frame,
        run=snapshot["run"],
        errors=errors or {},
        handling=failure_handling(snapshot),
        every=steps.by_slug(snapshot["steps"]),
    )


def detail(step: StepShape, context: RowContext, room: int) -> Segment:
    """Return the most useful words about a step in at most `room` columns, and their style."""
    frame, condition = context.frame, context.condition(step)
    last = context.errors.get(step["slug"])
    style = STYLES[condition]
    match step["status"]:
        case "started" | "waiting" if steps.is_wide(step):
            return (_wide(step, frame, room), style if condition == "waiting" else "")
        case "waiting":
            return (frame.dot.join(_waiting(step, frame)), style if condition == "waiting" else "")
        case "started":
            words = frame.dot.join(_started(step, last, frame, room))
            return (words, style if last else "")
        case "failed":
            return (frame.dot.join(filter(None, _failed(step, context))), style)
        case _:
            return (_calm(step, context.every), "dim")


def _failed(step: StepShape, context: RowContext) -> Iterator[str]:
    yield "failed"
    if steps.is_wide(step) or step["max_attempts"] > 1:
        yield steps.attempts(step)
    if handling := context.handling.get(step["slug"]):
        yield handling.text


def _waiting(step: StepShape, frame: Frame) -> Iterator[str]:
    waits = step["waits"]
    if waits and waits["kind"] == "child":
        yield f"runs {one_line(step['flow'] or '')}"
        if step["attempts"] > 1:
            yield steps.attempt(step, step["attempts"])
    elif waits:
        yield from wait(waits, frame.now)


def _calm(step: StepShape, every: Mapping[str, StepShape]) -> str:
    """Format a step that is to come, or that has ended without a failure."""
    match step["status"]:
        case "created":
            return steps.waiting_for(step)
        case "skipped":
            return f"skipped: {steps.skip_reason(step, every)}"
        case "cancelled":
            return "cancelled"
        case _ if steps.is_wide(step):
            return ", ".join(filter(None, [steps.task_total(step), steps.failed_tasks(step)]))
        case _ if step["child"]:
            return run_name(step["child"])
        case _ if step["answer"]:
            return answer(step)
        case _:
            calls = f"{step['iteration'] + 1:,} calls" if step["iteration"] else ""
            attempts = f"attempt {step['attempts']}" if step["attempts"] > 1 else ""
            return ", ".join(filter(None, [calls, attempts]))


def _started(step: StepShape, last: FailedAttempt | None, frame: Frame, room: int) -> Iterator[str]:
    if steps.phase(step, frame.now) == "running":
        if step["iteration"]:
            yield steps.call(step)
        if step["attempts"] > 1:
            yield steps.attempt(step, step["attempts"])
            if last:
                yield f"{one_line(last['type'])} {roughly(elapsed(last['at'], frame.now))} ago"
        if step["progress"]:
            yield steps.progress(step)
        return
    delay = steps.delay(step, frame.now)
    again = f"again in {roughly(delay)}" if delay else "queued again"
    if step["iteration"] and not (last and last["retry_at"] == step["retry_at"]):
        # This is the last call; `steps.call` would return the next one.
        yield from (f"call {step['iteration']:,}", again)
    elif last:
        attempt = f"{steps.attempt(step, last['attempt'])} failed"
        named = f"{attempt}: {one_line(last['type'])}"  # as below the row, if that has room
        yield from (named if cells(named + frame.dot + again) <= room else attempt, again)
    elif delay:
        yield f"starts in {roughly(delay)}"
    else:
        yield "queued"
        if step["refused_at"]:
            since = roughly(elapsed(step["refused_at"], frame.now))
            yield f"no worker has its handler, since {since}"


def _wide(step: StepShape, frame: Frame, room: int) -> str:
    tasks = step["tasks"]
    left = steps.seconds_left(step, frame.now)
    phrases = [
        f"{tasks['completed']:,}/{tasks['total']:,}",
        steps.failed_tasks(step),
        f"{tasks['started']:,} at once" if tasks["started"] else "",
        "" if left is None else f"ETA {roughly(left)}",
    ]
    parts = list(filter(None, phrases))
    bar = 15 if room >= 50 else 8 if room >= 24 else 0
    full = int(bar * steps.share_completed(step))
    drawn = frame.symbols.map_bar * full + frame.symbols.map_rest * (bar - full)
    drawn += "  " if bar else ""
    runs = f" runs of {one_line(step['flow'] or '')}" if step["action"] == "flow" else ""
    if cells(drawn + frame.dot.join(parts) + runs) <= room:
        parts[0] += runs
    while len(parts) > 1 and cells(drawn + frame.dot.join(parts)) > room:
        parts.pop()
    return drawn + frame.dot.join(parts)
