"""Hints to clusters that grow on demand: back-pressure hides the demand from them (§4.3)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgflow_yaml.worker.upkeep import Duty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgflow_yaml.database.store import Store

SECONDS = 10.0
_REST_SECONDS = 60.0


class Wants(Duty):
    """Give a cluster a hint every ten seconds; none once nothing has waited for a minute."""

    name = "demand of the engine"

    def __init__(
        self, queues: Sequence[str] | None, running: Callable[[], int], want: Callable[[int], None]
    ) -> None:
        """`running` returns the number of calls in the engine; `want` passes the hint on."""
        super().__init__(time.monotonic())
        self._queues = queues
        self._running = running
        self._want = want
        self._wanted = 0
        self._worked_at = time.monotonic()

    def work(self, store: Store) -> float:
        """Ask the database, and tell the engine."""
        wanted, now = store.work_waiting(self._queues) + self._running(), time.monotonic()
        if wanted:
            self._worked_at = now
        elif now < self._worked_at + _REST_SECONDS:
            wanted = self._wanted
        if wanted or self._wanted:
            self._want(wanted)
        self._wanted = wanted
        return SECONDS
