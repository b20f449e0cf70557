"""The resources that a worker offers: tasks that need more than is free wait for each other."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from pgflow_yaml.language.resources import lacking

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgflow_yaml.worker.task import Task


class Gate:
    """Let tasks begin while the sum of their needs is within what is offered; first in, first out.

    A task at the head of the line that needs much holds up the others with needs until it fits: so
    none starves. Tasks without needs pass by.
    """

    def __init__(self, offer: Mapping[str, float]) -> None:
        self._free = dict(offer)
        self._taken: set[Task] = set()
        self._waiting: deque[Task] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of tasks that wait."""
        return len(self._waiting)

    def admit(self, tasks: Iterable[Task]) -> list[Task]:
        """Return the tasks that may begin now, in their order; the others wait."""
        with self._lock:
            passing = []
            for task in tasks:
                if task.call.resources:
                    self._waiting.append(task)
                else:
                    passing.append(task)
            return passing + self._next()

    def give_back(self, task: Task) -> list[Task]:
        """Take back what an ended task had; return those that may begin now."""
        with self._lock:
            if task not in self._taken:
                return []
            self._taken.discard(task)
            for name, amount in task.call.resources.items():
                self._free[name] = self._free.get(name, 0) + amount
            return self._next()

    def withdraw(self, count: int) -> list[Task]:
        """Remove up to `count` tasks that wait and return them, the last ones first."""
        with self._lock:
            return [self._waiting.pop() for _ in range(min(count, len(self._waiting)))]

    def _next(self) -> list[Task]:
        admitted = []
        while self._waiting:
            task = self._waiting[0]
            # One that is cancelled takes nothing; one that can never fit is refused elsewhere.
            if not task.cancelled and lacking(task.call.resources, self._free):
                break
            self._waiting.popleft()
            self._taken.add(task)
            for name, amount in task.call.resources.items():
                self._free[name] = self._free.get(name, 0) - amount
            admitted.append(task)
        return admitted
