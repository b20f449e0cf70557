"""The pruning of a worker: a short pass now and then, by the retention of the flows."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING

from pgflow_yaml.worker.upkeep import Duty

if TYPE_CHECKING:
    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Json

log = logging.getLogger(__name__)

BETWEEN_SECONDS = 600.0
PASS_SECONDS = 20.0
REST = 3.0
"""A pass rests so many times as long as a commit has taken, so that others have the database."""


class Pruning(Duty):
    """Delete what is old, about every ten minutes; of many workers one does it at a time."""

    name = "pruning"

    def __init__(self, worker: str) -> None:
        super().__init__(time.monotonic() + _between())
        self._worker = worker
        self._cursor: Json = None
        self._ends_at: float | None = None
        self._runs = 0

    def work(self, store: Store) -> float:
        """Make the next commit of a pass."""
        began = time.monotonic()
        if self._ends_at is None:
            self._ends_at = began + PASS_SECONDS
        reply = store.prune_due(self._worker, self._cursor)
        now = time.monotonic()
        self._cursor = reply["cursor"]
        self._runs += sum(reply["runs"].values())
        if not reply["busy"] and self._cursor is not None and now < self._ends_at:
            return REST * (now - began)
        if self._runs:
            log.info("deleted %d old runs", self._runs, extra={"action": "prune"})
        self._ends_at, self._runs = None, 0
        return _between()


def _between() -> float:
    return random.uniform(0.5, 1.5) * BETWEEN_SECONDS  # noqa: S311 (jitter is no secret)
