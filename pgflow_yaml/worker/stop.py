"""Stopping a worker: when it must have left, and how long it may still wait (R-14)."""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.database.store import Store

_LAST_REPORT_SECONDS, _OVERDUE_SECONDS = 2.0, 4.0


class Closed(Exception):
    """The worker stops, and waits for the database no longer."""


class Stop:
    """Set once, from any thread or signal handler; the worker and its connections look at it."""

    def __init__(self, grace: float, is_idle: Callable[[], bool]) -> None:
        """With `is_idle`, no task is yet to be reported."""
        self.leave_by: float | None = None
        self.forced = False
        self._grace = grace
        self._is_idle = is_idle
        self._bell: SimpleQueue[None] = SimpleQueue()

    def ask(self, *, now: bool = False) -> None:
        """Leave after the grace, or `now`; takes no lock that interrupted code may hold."""
        if self.leave_by is None:
            self.leave_by = time.monotonic() + self._grace
        if now:
            self.forced = True
            self.leave_by = min(self.leave_by, time.monotonic())
        self._bell.put(None)

    def overdue(self) -> float:
        """Return the seconds since the worker should have left; 0 before."""
        return 0.0 if self.leave_by is None else max(0.0, time.monotonic() - self.leave_by)

    def is_overdue(self) -> bool:
        """Return True once the worker should have ended, whatever it waits for."""
        return self.overdue() >= _OVERDUE_SECONDS

    def pause(self, seconds: float) -> None:
        """Wait between attempts to reach the database; raise Closed if they must end."""
        with suppress(Empty):
            self._bell.get(timeout=seconds if self.leave_by is None else min(seconds, 0.2))
        # Tasks still held are yet to be reported, perhaps by the statement that failed.
        if self.leave_by is not None and (self._is_idle() or self._is_late()):
            raise Closed

    def cut(self, store: Store) -> None:
        """Cut a statement that keeps a late worker from leaving."""
        since = store.waiting_since
        if since is None or not self._is_late():
            return
        # Even a late worker reports once more: a statement that has just begun goes on.
        if time.monotonic() - since > _LAST_REPORT_SECONDS / 2:
            store.interrupt()

    def _is_late(self) -> bool:
        return self.overdue() > _LAST_REPORT_SECONDS
