"""The number of tasks a worker claims and the pauses between its polls, as measured (R-8, R-15)."""

from __future__ import annotations

import random
import time

MOST_HELD = 1000
LEAST_PATIENCE, MOST_PATIENCE = 0.25, 2.0
_LONGEST_LINGER = 0.02
_ALERT_SECONDS = 0.15  # clients notify once in 100 ms


class Pace:
    """Measurements of turns and handlers, and the pace they allow; one thread uses it."""

    def __init__(self, *, slots: int, lease: float, poll: float, longest_poll: float) -> None:
        self._slots = slots
        self._lease = lease
        self._poll, self._longest_poll = poll, longest_poll
        self._pause = poll
        self._alert_until = 0.0
        self._turn_seconds = 0.005
        self._allowed = self._wanted = slots

    def saw_turn(self, seconds: float) -> None:
        """Learn from the duration of a turn, which claimed what there was room for."""
        self._turn_seconds += (seconds - self._turn_seconds) * 0.2
        self._allowed = self._wanted

    def room(self, held: int, *, rate: float = 0.0) -> int:
        """Return the number of tasks to claim now; `rate`: tasks a second that the slots finish.

        Enough to keep the slots busy for one turn, never more than can start within a quarter of
        the lease, and at most eight times as many as last time.
        """
        if not rate:  # nothing is known, or nothing moves
            return max(0, self._slots - held)
        waiting = min(2 * self._turn_seconds, self._lease / 4) * rate
        self._wanted = min(self._slots + int(waiting), MOST_HELD, self._allowed * 8)
        return max(0, self._wanted - held)

    def patience(self) -> float:
        """Return the seconds that a task may wait behind slots that are busy but do free."""
        return min(max(LEAST_PATIENCE, 4 * self._turn_seconds), MOST_PATIENCE)

    def batch(self, held: int) -> int:
        """Return the number of results that are worth a turn while more will come."""
        return max(1, min(held, self._allowed) // 2)

    def linger(self) -> float:
        """Return the seconds that a first result may wait for others while tasks are queued."""
        return min(self._turn_seconds, _LONGEST_LINGER)

    def woken(self) -> None:
        """Poll often for a moment: clients send no second wake-up just after the first."""
        self._pause = self._poll
        self._alert_until = time.monotonic() + _ALERT_SECONDS

    def next_poll(self, *, worked: bool) -> float:
        """Return the seconds until the next poll: short after work, then longer and longer."""
        self._pause = self._poll if worked else min(self._pause * 1.5, self._longest_poll)
        alert = time.monotonic() < self._alert_until
        pause = min(self._pause, _ALERT_SECONDS / 3) if alert else self._pause
        return pause * random.uniform(0.5, 1.5)  # noqa: S311 (jitter is no secret)
