"""The health of a worker, for those who restart it or send it to work: `/livez`, `/readyz`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgflow_yaml.database.migrate import check
from pgflow_yaml.database.store import Attempts
from pgflow_yaml.errors import SchemaMismatch
from pgflow_yaml.worker.upkeep import Duty

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.database.store import Outage, Store
    from pgflow_yaml.worker.stop import Stop

ANSWER_SECONDS = 10.0
_SILENCE_SECONDS = 10.0  # beyond a lease
_ASK_SECONDS = 4.0
_COMPARE_SECONDS = 60.0


class Pulse:
    """The signs of life of one thread."""

    def __init__(self) -> None:
        self._until = time.monotonic()

    def beat(self, rest: float = 0.0) -> None:
        """Give a sign of life; the next one is due after `rest` seconds."""
        self._until = time.monotonic() + max(rest, 0.0)

    def overdue(self) -> float:
        """Return the seconds by which the next sign of life is late."""
        return time.monotonic() - self._until


class Health:
    """The state of one worker, from what its threads leave here; any thread may ask."""

    def __init__(
        self, lease: float, stop: Stop, outage: Outage, stores: tuple[Store, Store]
    ) -> None:
        """`stores` are the connections of the loop and of the heartbeat."""
        self.loop, self.heartbeat = Pulse(), Pulse()
        self.mismatch: str | None = None
        """The reason for which the database does not fit this release."""
        self._limit = lease + _SILENCE_SECONDS
        self._stop = stop
        self._outage = outage
        self._stores = stores

    def why_not_alive(self) -> str | None:
        """Return why a restart would help, or None; a database that is away is no reason."""
        pulses = (("loop", self.loop), ("heartbeat", self.heartbeat))
        for (name, pulse), store in zip(pulses, self._stores, strict=True):
            late = pulse.overdue()
            # A statement that hangs is cut elsewhere, and a restart would only repeat it.
            if late > self._limit and store.waiting_since is None:
                return f"the {name} of this worker has not moved for {late:.0f} s"
        return None

    def why_not_ready(self) -> str | None:
        """Return why this worker cannot work now, or None."""
        silent = time.monotonic() - self._outage.answered_at
        if self._stop.leave_by is not None:
            return "this worker is stopping"
        if silent > ANSWER_SECONDS:
            return f"the database has not answered for {ANSWER_SECONDS:g} s"
        return self.mismatch


class Checkup(Duty):
    """Ask the database for a sign of life when nothing else does, and compare its schema."""

    name = "check of the database"

    def __init__(
        self, health: Health, outage: Outage, conninfo: str, pause: Callable[[float], object]
    ) -> None:
        super().__init__(time.monotonic() + _ASK_SECONDS)
        self._health = health
        self._outage = outage
        self._conninfo = conninfo
        self._pause = pause
        self._compare_at = time.monotonic() + _COMPARE_SECONDS  # a worker begins with it

    def work(self, store: Store) -> float:
        """Make sure that the last answer is not old, and that the schema still fits."""
        if time.monotonic() - self._outage.answered_at > _ASK_SECONDS:
            store.ask("select true", [])
        if time.monotonic() >= self._compare_at:
            self._compare()
            self._compare_at = time.monotonic() + _COMPARE_SECONDS
        return _ASK_SECONDS

    def _compare(self) -> None:
        try:
            check(self._conninfo, Attempts(pause=self._pause, outage=self._outage))
        except SchemaMismatch as error:
            self._health.mismatch = error.message
        else:
            self._health.mismatch = None
