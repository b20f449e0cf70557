"""The queues that a worker serves, and the handlers of their tasks: listed every two seconds."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from pgflow_yaml.database.store import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.worker.missing import MissingHandlers

log = logging.getLogger(__name__)

_SECONDS, _AT_LEAST_SECONDS = 2.0, 0.1
_PAUSED_SECONDS = 10.0


class Queues:
    """All queues of the database or the ones named; each turn begins with another one."""

    def __init__(self, store: Store, missing: MissingHandlers) -> None:
        self._store = store
        self._missing = missing
        self._names: deque[str] = deque()
        self._paused: dict[str, float] = {}
        self._seen = self._until = 0.0
        self._listed: str | None = None

    def rotate(self, named: Sequence[str] | None) -> None:
        """Begin with the next queue; list them again if that is due."""
        now = time.monotonic()
        if now >= self._until:
            self._list(named)
            self._seen, self._until = now, now + _SECONDS
        self._names.rotate(-1)

    def _list(self, named: Sequence[str] | None) -> None:
        try:
            served = self._store.served_since(named, self._listed)
        except Refused as error:
            log.error("cannot list the queues: %s", error, extra={"action": "turn"})  # noqa: TRY400
            return
        self._listed = served["until"]
        self._missing.foresee(served["handlers"])
        if set(served["queues"]) != set(self._names):
            self._names = deque(served["queues"])

    def list_soon(self) -> None:
        """List the queues again at the next turn: a new flow may have been started."""
        self._until = min(self._until, self._seen + _AT_LEAST_SECONDS)

    def names(self) -> list[str]:
        """Return the queues to claim from now, in their order."""
        now = time.monotonic()
        return [name for name in self._names if self._paused.get(name, now) <= now]

    def pause(self, name: str, error: Refused) -> None:
        """Leave a queue alone for a moment: the database fails to give its tasks."""
        self._paused[name] = time.monotonic() + _PAUSED_SECONDS
        log.error(
            "queue %s is paused for %g s, the database refuses to give its tasks: %s",
            name,
            _PAUSED_SECONDS,
            error,
            extra={"action": "turn"},
        )
