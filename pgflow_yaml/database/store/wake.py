"""Wake-ups: a NOTIFY after a start, heard by idle workers. All is correct without them (R-8).

NOTIFY takes a lock over all commits of a cluster, so it is sent in a transaction of its own, which
writes nothing else, and at most once in 100 ms by each process to each database. The workers that
it wakes poll a few times in quick succession, and find what is started in between.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg

from pgflow_yaml.database.store.dial import Dial, answer, cut
from pgflow_yaml.database.store.errors import message_of
from pgflow_yaml.database.store.patrol import patrol
from pgflow_yaml.errors import PgflowError, Unavailable
from pgflow_yaml.text import mask_passwords

if TYPE_CHECKING:
    from collections.abc import Callable

CHANNEL = "pgflow_wake"
BETWEEN_SECONDS = 0.1
_PROBE_SECONDS = 5.0


class WakeUpsUnsupported(PgflowError):
    """No notification arrives on this route to the database."""


class Debounce:
    """A limit of one call per key and interval, over all threads of this process."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def passes(self, key: str) -> bool:
        """Return True if this call may go on."""
        with self._lock:
            now = self._clock()
            if now < self._next.get(key, now):
                return False
            self._next[key] = now + self._seconds
            return True


wake_ups = Debounce(BETWEEN_SECONDS)
"""The wake-ups that this process sends, by conninfo."""


class Listener:
    """A separate connection that receives wake-ups; used by one thread, closed by another."""

    def __init__(self, conninfo: str, *, name: str) -> None:
        self.conninfo = conninfo
        self.server_pid: int | None = None
        self.busy_since: float | None = None
        self._name = name
        self._dial: Dial | None = None
        self._connection: psycopg.Connection[Any] | None = None

    def open(self) -> None:
        """Connect, listen, and verify that the notifications of others arrive.

        Raise Unavailable, or WakeUpsUnsupported if another attempt would not help.
        """
        self._connection = self._connect()
        self.server_pid = self._dial.pid if self._dial else None
        patrol.watch(self)
        try:
            self._ask(f"listen {CHANNEL}")
        except psycopg.Error as error:
            if self._connection.closed:
                raise Unavailable(mask_passwords(message_of(error))) from error
            raise WakeUpsUnsupported(f"LISTEN is refused: {message_of(error)}") from error
        self._call()
        if not self.hears(_PROBE_SECONDS):
            self.ping()
            raise WakeUpsUnsupported(
                "a notification does not arrive here (a connection pooler in between?)"
            )

    def hears(self, seconds: float) -> bool:
        """Wait for a wake-up; raise Unavailable if the connection is lost."""
        assert self._connection is not None
        try:
            return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))
        except psycopg.Error as error:
            raise Unavailable(mask_passwords(message_of(error))) from error

    def ping(self) -> None:
        """Verify that the server answers, with a statement that does nothing."""
        try:
            self._ask("")
        except psycopg.Error as error:
            raise Unavailable(mask_passwords(message_of(error))) from error

    def size(self) -> int:
        """Return 0: what this connection sends is short."""
        return 0

    def interrupt(self) -> None:
        """Cut the connection from another thread: a pending wait fails at once."""
        dial = self._dial
        if dial is not None:
            dial.cut()
        cut(self._connection)

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()

    def _connect(self) -> psycopg.Connection[Any]:
        self._dial = Dial(self.conninfo, self._name)
        try:
            return self._dial.connection()
        except psycopg.Error as error:
            raise Unavailable(mask_passwords(message_of(error))) from error

    def _ask(self, query: LiteralString) -> None:
        assert self._connection is not None
        self.busy_since = time.monotonic()
        try:
            self._connection.execute(query)
        finally:
            self.busy_since = None

    def _call(self) -> None:
        """Notify over a second connection: behind a pooler, the first would hear only itself."""
        other = self._connect()
        try:
            answer(other, f"select pg_catalog.pg_notify('{CHANNEL}', '')".encode(), _PROBE_SECONDS)
        except psycopg.Error as error:
            raise Unavailable(mask_passwords(message_of(error))) from error
        finally:
            other.close()
