"""The connections of the pages: few, each for one request at a time."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgflow_yaml.client import Client
from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

MOST_READERS, MOST_WRITERS = 8, 4
STATEMENT_SECONDS = 5.0
_READ_PATIENCE, _WRITE_PATIENCE = 1.0, 5.0
_WAIT_SECONDS = 5.0


class Clients:
    """Clients of one database: those of pages can only read, those of actions can write."""

    def __init__(
        self, origin: Client | str, *, read_only: bool = False, reading: str | None = None
    ) -> None:
        """Take a client, or where to connect; with `read_only`, there are no writers.

        Pages read from `reading`, if it is given: perhaps from a standby.
        """
        self._origin = Client(origin) if isinstance(origin, str) else origin
        self._reading = self._origin if reading is None else Client(reading)
        self._readers = _Pool(self._reader, MOST_READERS)
        self._writers = _Pool(self._reader if read_only else self._writer, MOST_WRITERS)
        self._watcher = _Pool(self._reader, 1)

    def reading(self) -> AbstractContextManager[Client]:
        """Lend a client whose sessions can only read."""
        return self._readers.lent()

    def writing(self) -> AbstractContextManager[Client]:
        """Lend a client for an action."""
        return self._writers.lent()

    def watching(self) -> AbstractContextManager[Client]:
        """Lend the client of the watcher, which can only read: busy pages do not hinder it."""
        return self._watcher.lent()

    def close(self) -> None:
        """Disconnect."""
        for pool in (self._readers, self._writers, self._watcher):
            pool.close()

    def _reader(self) -> Client:
        return self._reading.another(
            patience=_READ_PATIENCE, read_only=True, statement_seconds=STATEMENT_SECONDS
        )

    def _writer(self) -> Client:
        return self._origin.another(patience=_WRITE_PATIENCE)


class _Pool:
    """Clients that are made when first needed, and lent to one request at a time."""

    def __init__(self, make: Callable[[], Client], most: int) -> None:
        self._make = make
        self._free: list[Client] = []
        self._places = threading.BoundedSemaphore(most)

    @contextmanager
    def lent(self) -> Iterator[Client]:
        """Lend the client that was used last; raises Unavailable if all are busy for long."""
        if not self._places.acquire(timeout=_WAIT_SECONDS):
            raise Unavailable("many people ask at this moment, and the database is slow: try again")
        try:
            client = self._free.pop() if self._free else self._make()
            try:
                yield client
            finally:
                self._free.append(client)
        finally:
            self._places.release()

    def close(self) -> None:
        """Disconnect the clients that are not lent."""
        while self._free:
            self._free.pop().close()
