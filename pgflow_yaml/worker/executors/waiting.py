"""The tasks of an executor whose handlers have not begun."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.executors.pool import Pool
    from pgflow_yaml.worker.task import Task
    from pgflow_yaml.worker.upkeep import Duty


class WaitingTasks:
    """A queue without a lock: any thread adds, takes from the front, or withdraws from the end."""

    def __init__(self, pool: Pool) -> None:
        """Nothing waits yet."""
        self._pool = pool
        self._queue: deque[Task] = deque()

    def open(self) -> None:
        """Connect to nothing: it is in this process."""

    def slots(self) -> int:
        """Return the number of handlers that can run at once."""
        return self._pool.size

    def facts(self) -> Mapping[str, Json]:
        """Return nothing."""
        return {}

    def offer(self) -> Mapping[str, float] | None:
        """Return None: the worker counts what is declared."""
        return None

    def duties(self, queues: Sequence[str] | None) -> list[Duty]:  # noqa: ARG002 (none is served)
        """Return no work."""
        return []

    def queued(self) -> int:
        """Return the number of tasks whose handler has not begun."""
        return len(self._queue)

    def withdraw(self, count: int) -> list[Task]:
        """Remove up to `count` queued tasks and return them, the last ones first."""
        tasks: list[Task] = []
        while len(tasks) < count:
            try:
                tasks.append(self._queue.pop())
            except IndexError:
                break
        return tasks
