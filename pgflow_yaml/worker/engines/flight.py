"""Calls on their way to an engine and back, and the bundles that small tasks travel in."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgflow_yaml.worker.engines.envelope import MOST_CHARACTERS, size_of

if TYPE_CHECKING:
    from collections import deque
    from concurrent.futures import Future

    from pgflow_yaml.worker.task import Task

BUNDLE_SECONDS = 0.02
MOST_TASKS = 100
_SPARE_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Flight:
    """The tasks of one step that were submitted in one call."""

    tasks: list[Task]
    alone: bool = False
    """True if nothing else of this worker runs beside it, to find out which task kills."""
    future: Future[str] | None = None
    submitted: float = field(default_factory=time.monotonic)
    begun: float = 0.0
    cancelled: bool = False
    lost_at: float = 0.0
    """The time when the engine went away with it; 0: it is there."""

    def begin(self) -> None:
        """Start the clocks of its tasks; only a task that is alone in it has a deadline."""
        self.begun = time.monotonic()
        for task in self.tasks:
            task.begin()
            if self.tasks[1:]:
                task.deadline = math.inf

    def is_late(self) -> bool:
        """Return True for a bundle that ought to have ended: one of its tasks may hang."""
        if not self.begun or not self.tasks[1:]:
            return False
        seconds: float = self.tasks[0].call.timeout + BUNDLE_SECONDS + _SPARE_SECONDS
        return time.monotonic() > self.begun + seconds


def bundle(waiting: deque[Task]) -> list[Task]:
    """Take the tasks of the next call off the front of the line; it must not be empty.

    Tasks of one step that last less than 20 ms travel together: 20 ms of work, 100 tasks and 8 MB
    at most. One whose duration is not known yet travels alone.
    """
    first = waiting.popleft()
    seconds = first.call.seconds
    tasks, size = [first], size_of(first)
    if seconds is None or seconds >= BUNDLE_SECONDS:
        return tasks
    most = min(MOST_TASKS, int(BUNDLE_SECONDS / max(seconds, 1e-5)))
    while len(tasks) < most:
        try:
            task = waiting.popleft()
        except IndexError:
            break
        size += size_of(task)
        if task.call is not first.call or size > MOST_CHARACTERS:
            waiting.appendleft(task)
            break
        tasks.append(task)
    return tasks
