"""The time by which a task of a step with a rate is to begin.

The database counts its start from the moment when it sees the task claimed, and a little longer
(`_slack`). So no task begins later than that little after its claim. Nobody here knows when the
claim was committed, so the time counts from the question. Where the answers always take longer, no
task would ever begin: then this worker asks for more time, and its starts are counted longer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgflow_yaml.worker.task import Task

_SLOW_TURNS = 3  # one may be a pause of the machine
_TIMES = 4
_LONGEST_SECONDS = 60.0


class Starts:
    """The seconds from a turn to the start of its tasks."""

    def __init__(self, register: Callable[[], None]) -> None:
        """`register` tells the database how many seconds this worker takes."""
        self.seconds = 0.0
        self._register = register
        self._slow = 0

    def limit(self, tasks: Sequence[Task], asked: float) -> None:
        """Set the time by which each task with a rate is to begin; `asked` is when the turn was."""
        rated = [task for task in tasks if task.call.begin_seconds is not None]
        if not rated:
            return
        took, least = time.monotonic() - asked, _LONGEST_SECONDS
        for task in rated:
            seconds = max(task.call.begin_seconds or 0.0, self.seconds)
            task.begin_by = asked + seconds
            least = min(least, seconds)
        self._slow = self._slow + 1 if took > least / 2 else 0
        if self._slow >= _SLOW_TURNS:
            self._slow, self.seconds = 0, min(took * _TIMES, _LONGEST_SECONDS)
            self._register()
