"""The thread that watches deadlines of handlers and statements that hang."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.worker.executors import Pool
    from pgflow_yaml.worker.leases import Leases

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0  # after a check that went wrong


class Watch(threading.Thread):
    """Give up handlers whose time is up, and give back tasks that wait for too long.

    Checks the executors and the worker's statement as well.
    """

    def __init__(self, pool: Pool, leases: Leases, check: Callable[[], None]) -> None:
        super().__init__(name="pgflow-watch", daemon=True)
        self._pool = pool
        self._leases = leases
        self._check = check
        self._closed = threading.Event()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self.join(1)

    def run(self) -> None:
        """Check every 50 ms while handlers run, else four times a second."""
        while not self._closed.wait(0.05 if self._pool.running else 0.25):
            try:
                self._look()
            except Exception:  # without this thread no handler would time out
                log.exception("a check of the handlers went wrong", extra={"action": "failed"})
                self._closed.wait(_PAUSE_SECONDS)

    def _look(self) -> None:
        self._pool.watch(self._leases.seconds)
        self._pool.check()
        self._pool.return_waiting(list(self._leases.held.values()))
        self._check()
