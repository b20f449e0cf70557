"""The facts about one step or task, each with its label, for every screen that shows one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.text import duration, elapsed, moment, utc

from . import steps
from .waits import answer, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .snapshot import StepShape, TaskShape


def began(
    called: StepShape | TaskShape, max_attempts: int, clock: Callable[[str], str] = utc
) -> Iterator[tuple[str, str]]:
    """Yield when a step or a task began, how long it took, and its attempts."""
    if called["started_at"]:
        ended = moment(called["ended_at"]) if called["ended_at"] else None
        took = f", took {duration(elapsed(called['started_at'], ended))}" if ended else ""
        yield "started", clock(called["started_at"]) + took
    if called["attempts"]:
        yield "attempts", f"{called['attempts']:,} of {max_attempts:,}"


def step_facts(
    step: StepShape, every: Mapping[str, StepShape], clock: Callable[[str], str] = utc
) -> Iterator[tuple[str, str]]:
    """Yield the facts about a step, each with its label; `clock` formats times."""
    yield "does" if step["handler"] is None else "handler", steps.action(step)
    if step["depends_on"]:
        edges = [
            slug + (f" ({edge})" if (edge := step["edges"][slug]) != "success" else "")
            for slug in step["depends_on"]
        ]
        yield "depends on", ", ".join(edges)
    if step["waits"]:
        yield "waits", wait_until(step["waits"]).removeprefix("waits ")
    if step["status"] == "skipped":
        yield "skipped", steps.skip_reason(step, every)
    yield from began(step, step["max_attempts"], clock)
    if step["iteration"]:
        yield "calls", f"{step['iteration'] + 1:,}"
    if step["crashes"]:
        yield "crashes", f"{step['crashes']:,}"
    if steps.is_wide(step):
        yield f"{steps.task_noun(step)}s", steps.task_counts(step)
    if step["progress"]:
        yield "progress", steps.progress(step)
    if step["answer"]:
        yield "answer", f"{answer(step)}, {clock(step['answer']['at'])}"
