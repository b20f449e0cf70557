"""The number of tasks a worker claims and the pauses between its polls, as measured (R-8, R-15)."""

from __future__ import annotations

import random
import time

MOST_HELD = 1000
QUIET_SECONDS, QUIET_POLL = 600.0, 5.0
"""After ten minutes without work, a worker whose wake-ups arrive polls every 5 s."""
USUAL_POLL = 1.0
"""A worker that is told to poll more often keeps to that."""
LEAST_PATIENCE, MOST_PATIENCE = 0.25, 2.0
_LONGEST_LINGER = 0.02
_ALERT_SECONDS = 0.15  # clients notify once in 100 ms
_LEAST_ALARM, _LONGEST_ALARM = 0.005, 0.25
_LEAST_SPREAD, _MOST_SPREAD = 0.01, 0.1


class Alarm:
    """Pauses that end when a message comes due; they grow while nothing is found then.

    A message that is due may go to another worker, or to nobody for now: its run is locked, or no
    worker here has its handler. So whoever finds nothing comes later the next time, and idle
    workers share the timers without all of them asking at once.
    """

    def __init__(self, *, least: float, longest: float) -> None:
        self._least, self._longest = least, longest
        self._pause = least
        self.is_set = False
        """True if the last pause was to end when a message came due."""

    def pause(self, otherwise: float, due_ms: float | None, *, found: bool) -> float:
        """Return the seconds until a message is due in `due_ms`, `otherwise` at most.

        `found`: something was done after the last pause.
        """
        if found:
            self._pause = self._least
        elif self.is_set:
            self._pause = min(self._pause * 2, self._longest)
        self.is_set = False
        if due_ms is None:
            return otherwise
        spread = min(max(self._pause, _LEAST_SPREAD), _MOST_SPREAD)
        due = max(due_ms / 1000, self._pause) + random.uniform(0, spread)  # noqa: S311 (as below)
        self.is_set = due < otherwise
        return min(due, otherwise)


class Pace:
    """Measurements of turns and handlers, and the pace they allow; one thread uses it."""

    def __init__(self, *, slots: int, lease: float, poll: float, longest_poll: float) -> None:
        self.slots = slots
        """The number of handlers that can run at once."""
        self._lease = lease
        self._poll, self._longest_poll = poll, longest_poll
        self._pause = poll
        self._alarm = Alarm(least=_LEAST_ALARM, longest=_LONGEST_ALARM)
        self._alert_until = 0.0
        self._is_idle, self._hears = True, False
        self._claimed_at = time.monotonic()
        self._hint_holds = True  # a listener has tried itself when it has connected
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
            return max(0, self.slots - held)
        waiting = min(2 * self._turn_seconds, self._lease / 4) * rate
        most = max(MOST_HELD, self.slots)
        self._wanted = min(self.slots + int(waiting), most, self._allowed * 8)
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
        self._hint_holds = True
        self._pause = self._poll
        self._alert_until = time.monotonic() + _ALERT_SECONDS

    def saw_claim(self, count: int, *, hears: bool) -> None:
        """Learn whether wake-ups announce work: an idle worker that trusts them polls seldom.

        `hears`: one would arrive.
        """
        self._hears = hears
        if not count:
            self._is_idle = True
            return
        now = time.monotonic()
        # What was due needs no announcement.
        if self._is_idle and not self._alarm.is_set and now >= self._alert_until:
            self._hint_holds = False
        self._is_idle, self._claimed_at = False, now

    def next_poll(self, *, worked: bool, due_ms: float | None = None) -> float:
        """Return the seconds until the next poll: short after work, then longer and longer.

        But no longer than until a message is due.
        """
        longest = self._longest_poll
        is_quiet = time.monotonic() > self._claimed_at + QUIET_SECONDS
        if is_quiet and self._hears and self._hint_holds and longest >= USUAL_POLL:
            longest = max(longest, QUIET_POLL)
        self._pause = self._poll if worked else min(self._pause * 1.5, longest)
        alert = time.monotonic() < self._alert_until
        pause = min(self._pause, _ALERT_SECONDS / 3) if alert else self._pause
        pause *= random.uniform(0.5, 1.5)  # noqa: S311 (jitter is no secret)
        return self._alarm.pause(pause, due_ms, found=worked)
