"""The facts of one step of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .snapshot import StepShape


def is_wide(step: StepShape) -> bool:
    """Tell whether a step has many tasks: a map, or `initial_tasks`."""
    return step["map"] or step["tasks"]["total"] > 1


def skip_words(reason: str | None) -> str:
    """Say why a step was skipped."""
    reasons = {
        "condition_unmet": "condition not met",
        "dependency_skipped": "a step before it did not complete",
        "handler_failed": "it failed, which is allowed",
    }

    return reasons.get(reason or "", (reason or "").replace("_", " "))


def tasks_words(step: StepShape) -> str:
    """Say how many tasks of a step stand where."""
    tasks = step["tasks"]
    counts = {
        "completed": tasks["completed"],
        "running": tasks["started"],
        "queued": tasks["queued"],
        "failed": tasks["failed"],
        "cancelled": tasks["cancelled"],
    }
    parts = [f"{count:,} {name}" for name, count in counts.items() if count]
    return f"{tasks['total']:,} ({', '.join(parts)})" if parts else f"{tasks['total']:,}"
