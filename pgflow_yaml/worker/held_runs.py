"""Results whose run another session holds: kept in this worker until the run is free."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgflow_yaml.database.store import MOST_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.worker.task import Task

_FIRST_SECONDS, _LONGEST_SECONDS = 0.01, 0.25


@dataclass(slots=True)
class _Run:
    pause: float = _FIRST_SECONDS
    due: float = 0.0
    tasks: list[Task] = field(default_factory=list)


class HeldRuns:
    """The results of each held run; one of them asks now and then whether the run is free.

    The application that holds the run may do so for minutes, and a wide map may have a thousand
    results by then: all of them wait, whatever their number, at the cost of one.
    """

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}

    def __len__(self) -> int:
        """Return the number of results that wait."""
        return sum(len(run.tasks) for run in self._runs.values())

    def put_off(self, task: Task) -> None:
        """Keep a result that the database has just called busy."""
        run = self._runs.setdefault(task.run_id, _Run())
        run.tasks.append(task)
        run.due = time.monotonic() + run.pause

    def keep_back(self, results: Sequence[Task]) -> list[Task]:
        """Keep the results of runs known to be held; return the others."""
        if not self._runs:
            return list(results)
        free = []
        for task in results:
            if (run := self._runs.get(task.run_id)) is None:
                free.append(task)
            else:
                run.tasks.append(task)
        return free

    def due(self) -> list[Task]:
        """Return one result of each run that is to be asked for now, as many as a call carries."""
        now, size = time.monotonic(), 0
        tasks: list[Task] = []
        for run in self._runs.values():
            if run.due <= now and size < MOST_CHARACTERS:
                task = run.tasks[0]
                size += len(task.outcome.output) if task.outcome else 0
                tasks.append(task)
        return tasks

    def still_held(self, task: Task) -> None:
        """Ask again after twice the pause."""
        run = self._runs[task.run_id]
        run.pause = min(run.pause * 2, _LONGEST_SECONDS)
        run.due = time.monotonic() + run.pause

    def free(self, task: Task) -> list[Task]:
        """Forget the run of a result that has its verdict; return the others that waited."""
        return self._runs.pop(task.run_id).tasks[1:]

    def next_due(self) -> float:
        """Return the time at which the next run is to be asked for."""
        return min((run.due for run in self._runs.values()), default=math.inf)
