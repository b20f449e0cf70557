"""The log of what became of a result."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgflow_yaml.worker.task import Task

log = logging.getLogger(__name__)

_LARGE_CHARACTERS = 256 * 1024


def log_verdict(task: Task, verdict: str) -> None:
    """Log a failed attempt, a late result and a large output."""
    outcome = task.outcome
    if outcome is None or outcome.kind == "released":
        return
    if len(outcome.output) > _LARGE_CHARACTERS:
        log.warning(
            "output of %d kB: pass a reference to large things",
            len(outcome.output) // 1024,
            extra=task.fields("large"),
        )
    if verdict == "lost":  # the attempt is the fence
        log.warning(
            "late result refused: the task has ended, or another worker has it",
            extra=task.fields("lost"),
        )
    elif outcome.error is not None and verdict == "applied":
        kind = outcome.error.get("type")
        log.warning(
            "attempt failed: %s: %s",
            kind,
            outcome.error.get("message"),
            extra=task.fields("failed"),
        )
