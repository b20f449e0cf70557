"""The attempts to reach a database: back-off with full jitter, and few log lines (R-7)."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""The seconds for which a command or a client tries to reach the database."""

# R-7 allows 30 s, but five seconds after the database is back all must work again (G5).
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.1, 4.0, 1.5
_BETWEEN_LINES = 10.0


class Outage:
    """The log of the outages that several connections of one program notice together."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.ongoing = False
        self.answered_at = -math.inf
        """The time of the last answer, in monotonic seconds."""
        self._clock = clock
        self._logged_at: float | None = None
        self._reported = False
        self._lock = threading.Lock()

    def lost(self, message: str, tries: int = 0) -> None:
        """Log that the database is away; once in 10 s, whichever connection notices."""
        with self._lock:
            self.ongoing = True
            now = self._clock()
            if self._logged_at is not None and now - self._logged_at <= _BETWEEN_LINES:
                return
            self._logged_at, self._reported = now, True
            log.warning("%s; trying again", message, extra={"action": "reconnect", "tries": tries})

    def over(self) -> None:
        """Log that the database is back, if its absence was logged."""
        with self._lock:
            self.ongoing = False
            if self._reported:
                log.info("connected to the database again", extra={"action": "reconnect"})
            self._reported = False


class Attempts:
    """The attempts of one call; the first failure starts the clock."""

    def __init__(
        self,
        patience: float | None = PATIENCE,
        *,
        pause: Callable[[float], object] = time.sleep,
        outage: Outage | None = None,
    ) -> None:
        """`patience` is in seconds, None is for ever; `pause` may raise to end the attempts."""
        self.patience = patience
        self.count = 0
        self._pause = pause
        self._outage = outage
        self._since: float | None = None

    def spent(self) -> bool:
        """Return True if no time is left for another attempt."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return self.patience is not None and now - self._since >= self.patience

    def rest(self, message: str) -> None:
        """Wait before the next attempt, with full jitter; log `message` if that is due."""
        if self._outage is not None:
            self._outage.lost(message, self.count)
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * _GROWTH ** min(self.count, 30))
        if self.patience is not None and self._since is not None:
            longest = min(longest, max(0.0, self.patience - (time.monotonic() - self._since)))
        self.count += 1
        self._pause(random.uniform(0, longest))  # noqa: S311 (jitter is no secret)

    def reached(self) -> None:
        """Record an answer of the database."""
        if self._outage is not None:
            self._outage.over()
