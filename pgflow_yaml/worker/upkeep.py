"""The upkeep thread of a worker: duties that must not stand before a turn or a heartbeat."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pgflow_yaml.errors import PgflowError, Unavailable
from pgflow_yaml.worker.stop import Closed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.database.store import Store

log = logging.getLogger(__name__)

_REFUSED_SECONDS, _OUTAGE_SECONDS = 10.0, 4.0
_UNUSED_SECONDS = 60.0
_LITTLE_SECONDS = 0.2


class Duty(ABC):
    """Regular work in the database, a fraction of a second at a time: others wait for it."""

    name: ClassVar[str]

    def __init__(self, due: float = math.inf) -> None:
        self.due = due
        """The time when it is due, in monotonic seconds; any thread sets it by `Upkeep.set_due`."""

    @abstractmethod
    def work(self, store: Store) -> float:
        """Do the next part; return the seconds until the one after it."""


class Upkeep(threading.Thread):
    """Do each duty when it is due, on one connection, which is closed when unused for a minute."""

    def __init__(self, store: Store, duties: Sequence[Duty]) -> None:
        """`store` may serve other threads too; their use of it counts."""
        super().__init__(name="pgflow-upkeep", daemon=True)
        self._store = store
        self._duties = duties
        self._bell = threading.Event()
        self._closing = threading.Event()

    def set_due(self, duty: Duty, until: float) -> None:
        """Leave a duty until `until` (monotonic seconds), or do it earlier than it was due.

        The thread is woken only if that is much earlier: each turn of a worker calls this, with
        times that vary a little.
        """
        is_earlier = until < duty.due - _LITTLE_SECONDS
        duty.due = until
        if is_earlier:
            self._bell.set()

    def close(self) -> None:
        """End the thread; waits a moment, never for the database."""
        self._closing.set()
        self._bell.set()
        self._store.interrupt()
        self.join(1)

    def pause(self, seconds: float) -> None:
        """Wait between attempts to reach the database; raise Closed when the worker stops."""
        if self._closing.wait(seconds):
            raise Closed

    def run(self) -> None:
        """Do what is due until closed."""
        while not self._closing.is_set():
            duty = min(self._duties, key=lambda duty: duty.due)
            self._bell.wait(min(max(0.0, duty.due - time.monotonic()), _UNUSED_SECONDS))
            self._bell.clear()
            due, now = duty.due, time.monotonic()
            if self._closing.is_set():
                break
            if now >= due:
                try:
                    pause = self._work(duty)
                except Closed:
                    break
                if duty.due == due:  # else another thread has set it meanwhile
                    duty.due = time.monotonic() + pause
            self._store.close_unused(_UNUSED_SECONDS)

    def _work(self, duty: Duty) -> float:
        """Do the next part of a duty; return the seconds until the one after it."""
        try:
            return duty.work(self._store)
        except Unavailable:  # logged by the attempts
            return random.uniform(0.5, 1) * _OUTAGE_SECONDS  # noqa: S311 (jitter is no secret)
        except PgflowError as error:
            log.error(  # noqa: TRY400
                "the database refused the %s: %s", duty.name, error, extra={"action": "upkeep"}
            )
            return _REFUSED_SECONDS
