"""The finished tasks on their way from the executors to the worker's own thread."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.worker.task import Task


class Results:
    """A queue without a lock: any thread adds to it, one thread waits and takes."""

    def __init__(self, more_expected: Callable[[], bool]) -> None:
        """With `more_expected`, tasks wait for a slot: the next results will come soon."""
        self.count = 0
        """The number of results so far."""
        self._more_expected = more_expected
        self._tasks: deque[Task] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._wanted = 0  # ring at this number of results; 0: the worker does not wait

    def __bool__(self) -> bool:
        """Return True if a task has finished since the last `take`."""
        return bool(self._tasks)

    def add(self, task: Task) -> None:
        """Hand a finished task to the worker."""
        self.count += 1
        self._tasks.append(task)
        wanted = self._wanted
        if wanted and self._are_enough(wanted):
            self._wanted = 0
            self._bell.put(None)

    def ring(self) -> None:
        """Wake the worker's own thread; safe in a signal handler."""
        self._bell.put(None)

    def take(self) -> list[Task]:
        """Remove the tasks that have finished since the last call and return them."""
        # The lists are not swapped: a thread may be about to append to the old one.
        return [self._tasks.popleft() for _ in range(len(self._tasks))]

    def wait(self, count: int, seconds: float) -> None:
        """Wait for `count` results, or for any if no more are expected, or for the bell."""
        self._wanted = count
        if not self._are_enough(count):
            with suppress(Empty):
                self._bell.get(timeout=max(seconds, 0))
        self._wanted = 0
        while not self._bell.empty():
            self._bell.get()

    def _are_enough(self, wanted: int) -> bool:
        results = len(self._tasks)
        return results >= wanted or (results > 0 and not self._more_expected())
