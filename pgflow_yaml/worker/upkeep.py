"""The timers of a worker whose slots are busy: it takes no turns with room, which run them."""

from __future__ import annotations

import json
import logging
import math
import random
import threading
import time
from typing import TYPE_CHECKING

from pgflow_yaml.errors import PgflowError, Unavailable
from pgflow_yaml.worker.pace import Alarm
from pgflow_yaml.worker.stop import Closed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pgflow_yaml.database.store import Store, TimersReply

log = logging.getLogger(__name__)

LONGEST_SECONDS = 1.0
_LEAST_SECONDS = 0.05  # a large map goes on at each call, and holds its run
_REFUSED_SECONDS, _OUTAGE_SECONDS = 10.0, 4.0
_UNUSED_SECONDS = 60.0
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


class Upkeep(threading.Thread):
    """Call `wind` once a second, or when a timer is due, while the worker claims nothing."""

    def __init__(self, worker: str, store: Store, errors: TimerErrors) -> None:
        """`store` may serve other threads too."""
        super().__init__(name="pgflow-upkeep", daemon=True)
        self._worker = worker
        self._store = store
        self._errors = errors
        self._alarm = Alarm(least=_LEAST_SECONDS, longest=LONGEST_SECONDS)
        self._next = time.monotonic() + LONGEST_SECONDS
        self._bell = threading.Event()
        self._closing = threading.Event()
        self._unused_at = math.inf  # when nobody will have needed the connection for a minute

    def rest(self, until: float) -> None:
        """Make no call before `until` (monotonic seconds): turns of the worker run the timers."""
        is_earlier = until < self._next
        self._next = until
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
        """Run timers until closed."""
        while not self._closing.is_set():
            self._bell.wait(max(0.0, min(self._next, self._unused_at) - time.monotonic()))
            self._bell.clear()
            due, now = self._next, time.monotonic()
            if self._closing.is_set():
                break
            if now >= due:
                try:
                    pause = self._wind()
                except Closed:
                    break
                self._unused_at = time.monotonic() + _UNUSED_SECONDS
                if self._next == due:  # else the worker had room meanwhile
                    self._next = time.monotonic() + pause
            elif now >= self._unused_at:
                self._unused_at = math.inf
                self._store.close()

    def _wind(self) -> float:
        """Run the timers that are due; return the seconds until the next call."""
        try:
            reply = self._store.wind(self._worker)
        except Unavailable:  # logged by the attempts
            return random.uniform(0.5, 1) * _OUTAGE_SECONDS  # noqa: S311 (jitter is no secret)
        except PgflowError as error:
            log.error("timers cannot be run: %s", error, extra={"action": "timer"})  # noqa: TRY400
            return _REFUSED_SECONDS
        self._errors.log(reply)
        return self._alarm.pause(
            LONGEST_SECONDS, reply.get("next_ms"), found=bool(reply.get("timers"))
        )
