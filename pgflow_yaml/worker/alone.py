"""Tasks that have crashed a worker: each runs alone, so that it takes no other with it again."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.worker.task import Key, Task

PATIENCE_SECONDS = 10.0
_FRESH_SECONDS = 5.0  # a busy worker looks at each of its queues within it


class Alone:
    """Decide when to take such a task: nothing else runs then, and nothing is claimed beside it.

    A worker without tasks takes one if there is nothing else. A worker that always has others stops
    claiming them once one of these has waited for ten seconds in spite of all workers, and runs
    these for ten seconds; so both kinds take turns, even if there is one worker and much work.
    """

    def __init__(self, held: Mapping[Key, Task]) -> None:
        self._held = held
        self._task: Task | None = None
        self._waiting_since = self._seen = -math.inf  # the first and the last claim that left one
        self._turn_since: float | None = None

    def is_running(self) -> bool:
        """Return True while this worker holds a task that runs alone."""
        if self._task is not None and self._held.get(self._task.key) is not self._task:
            self._task = None
        return self._task is not None

    def is_due(self) -> bool:
        """Return True if it is these tasks' turn: let the others end, and claim one."""
        now = time.monotonic()
        is_left = now - self._seen < _FRESH_SECONDS
        if self._turn_since is None and is_left and now - self._waiting_since > PATIENCE_SECONDS:
            self._turn_since = now
        return self._turn_since is not None

    def option(self, unsettled: int) -> str | None:
        """Return how the next claim is to treat such tasks, as `turn` takes it."""
        if unsettled:
            return "no"
        return "first" if self.is_due() else None

    def saw(self, reply: Mapping[str, object], tasks: list[Task]) -> None:
        """Learn from the reply of a claim."""
        now = time.monotonic()
        self._task = tasks[0] if tasks and reply.get("alone") else None
        if self._turn_since is not None:
            if self._task is None or now - self._turn_since > PATIENCE_SECONDS:
                self._turn_since, self._waiting_since = None, now
        elif reply.get("crashed"):
            if now - self._seen > _FRESH_SECONDS:
                self._waiting_since = now
            self._seen = now
