"""The timers of a worker whose slots are busy: it takes no turns with room, which run them."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING

from pgflow_yaml.worker.ends import log_ends
from pgflow_yaml.worker.pace import Alarm
from pgflow_yaml.worker.upkeep import Duty

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pgflow_yaml.database.store import Store, TimersReply
    from pgflow_yaml.worker.schedules import Schedules

log = logging.getLogger(__name__)

LONGEST_SECONDS = 1.0
_LEAST_SECONDS = 0.05  # a large map goes on at each call, and holds its run
_BETWEEN_LINES = 10.0


class TimerErrors:
    """The log of timers that failed in the database; once in 10 s, whichever thread hears it."""

    def __init__(self) -> None:
        self._logged_at: float | None = None
        self._unlogged = 0
        self._lock = threading.Lock()

    def log(self, reply: TimersReply) -> None:
        """Log what a reply says."""
        errors = reply.get("timer_errors")
        if not errors:
            return
        with self._lock:
            now = time.monotonic()
            if self._logged_at is not None and now - self._logged_at < _BETWEEN_LINES:
                self._unlogged += len(errors)
                return
            others, self._unlogged = self._unlogged + len(errors) - 1, 0
            self._logged_at = now
        log.warning("%s", _sentence(errors[-1], others), extra={"action": "timer"})


def _sentence(error: Mapping[str, Any], others: int) -> str:
    return (
        f"the timer {json.dumps(error['timer'])} cannot be run: {error['error']}; "
        f"try {error['tries']}, the next in {error['pause_ms'] / 1000:g} s"
        + (f" (and {others} more since the last such line)" if others else "")
    )


class Timers(Duty):
    """Call `wind` once a second, or when a timer is due, while the worker claims nothing."""

    name = "timers"

    def __init__(self, worker: str, errors: TimerErrors, schedules: Schedules) -> None:
        super().__init__(time.monotonic() + LONGEST_SECONDS)
        self._worker = worker
        self._schedules = schedules
        self._errors = errors
        self._alarm = Alarm(least=_LEAST_SECONDS, longest=LONGEST_SECONDS)

    def work(self, store: Store) -> float:
        """Run the timers that are due."""
        reply = store.wind(self._worker)
        self._errors.log(reply)
        self._schedules.add(reply)
        log_ends(reply)
        return self._alarm.pause(
            LONGEST_SECONDS, reply.get("next_ms"), found=bool(reply.get("timers"))
        )
