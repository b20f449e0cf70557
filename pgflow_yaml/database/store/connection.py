"""A connection to PostgreSQL: bounded waits, reconnection, and this package's errors (R-7)."""

from __future__ import annotations

import logging
import re
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias

import psycopg
from psycopg.rows import tuple_row

from pgflow_yaml.database.store.attempts import PATIENCE, Attempts, Outage
from pgflow_yaml.database.store.dial import NO_BOUNDS, Bounds, Dial, cut, is_hopeless
from pgflow_yaml.database.store.errors import Refused, message_of, translated
from pgflow_yaml.database.store.patrol import patrol
from pgflow_yaml.errors import PgflowError, Unavailable
from pgflow_yaml.text import mask_passwords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

JoinedConnection: TypeAlias = psycopg.Connection[Any]
"""A caller's own connection, whose transaction a start joins."""

log = logging.getLogger(__name__)

_REPEATABLE = re.compile("08|53|57|40001|40P01|55P03|25006")
_READ_ONLY = "25006"  # no longer the primary: another connection may find it
_CLOSE_SECONDS = 1.0
_TIMED_OUT, _MOST_TIMEOUTS = "57014", 3  # a statement that is always too slow must not go on


class Connection:
    """A connection, opened when first needed and again when it breaks."""

    def __init__(
        self,
        conninfo: str,
        *,
        name: str = "pgflow-yaml",
        patience: float | None = PATIENCE,
        on_lost: Callable[[], None] | None = None,
        pause: Callable[[float], object] = time.sleep,
        outage: Outage | None = None,
        bounds: Bounds = NO_BOUNDS,
    ) -> None:
        """`on_lost` may revive the server; `pause` may raise to end the attempts.

        With endless patience (None), `outage` logs that the database is away.
        """
        self.on_reconnect: Callable[[], None] | None = None
        self.busy_since: float | None = None
        self.server_pid: int | None = None
        self.conninfo = conninfo
        self._name = name
        self._bounds = bounds
        self._begin = ""
        self._patience = patience
        self._on_lost = on_lost
        self._pause = pause
        self._outage = Outage() if outage is None and patience is None else outage
        self._connection: psycopg.Connection[Any] | None = None
        self._dial: Dial | None = None
        self._sent: Sequence[object] = ()
        self._was_connected = False
        self._lock = threading.RLock()

    def close(self) -> None:
        """Disconnect; another call connects again. A call in another thread is cut after 1 s."""
        if not self._lock.acquire(timeout=_CLOSE_SECONDS):
            self.interrupt()
            if not self._lock.acquire(timeout=_CLOSE_SECONDS):
                return
        try:
            with suppress(psycopg.Error):
                if self._connection is not None:
                    self._connection.close()
            self._connection = None
        finally:
            self._lock.release()

    def interrupt(self) -> None:
        """Cut the connection from another thread: a statement that waits fails at once."""
        dial = self._dial
        if dial is not None:
            dial.cut()
        cut(self._connection)

    @property
    def waiting_since(self) -> float | None:
        """The time since when another thread waits for an answer or for a new connection."""
        dial = self._dial
        return self.busy_since if dial is None else dial.began

    def size(self) -> int:
        """Return the length of the data of the statement that was sent last."""
        return sum(len(value) for value in self._sent if isinstance(value, str | list))

    def hint(self, query: LiteralString, params: Sequence[object]) -> None:
        """Send a statement once on the open connection, if there is one; ignore errors."""
        with self._lock:
            if self._connection is None or self._connection.closed:
                return
            try:
                self._run(query, params)
            except (_Repeatable, PgflowError) as error:
                log.debug("not sent: %s", error)

    def ask(
        self,
        query: LiteralString,
        params: Sequence[object],
        *,
        repeatable: bool = True,
        tries: int | None = None,
        unless: str = "",
    ) -> Any:
        """Return the one value of a statement; reconnect and repeat it as needed.

        With `tries`, raise Refused once the server has answered with so many errors, and at once
        if it answers with the SQLSTATE `unless`.
        """
        with self._lock:
            attempts: Attempts | None = None
            errors = 0
            while True:
                try:
                    return self._run(query, params)
                except _Repeatable as failure:
                    if failure.sent and not repeatable:
                        raise Unavailable(
                            "the connection broke while a run was being started: it may or may not "
                            "have been; starting with a key (--key) can be repeated safely"
                        ) from failure.cause
                    attempts = attempts or self._attempts()
                    if failure.hopeless or attempts.spent():
                        raise Unavailable(failure.message) from failure.cause
                    timed_out = failure.state == _TIMED_OUT
                    most = min(tries or _MOST_TIMEOUTS, _MOST_TIMEOUTS) if timed_out else tries
                    errors += failure.answered and most is not None
                    enough = (most is not None and errors >= most) or failure.state == unless
                    if failure.answered and enough:
                        raise Refused(failure.message, sqlstate=failure.state) from failure.cause
                    attempts.rest(failure.message)
                    self._revive()

    def _run(self, query: LiteralString, params: Sequence[object]) -> Any:
        connection = self._connected()
        self._sent = params
        self.busy_since = time.monotonic()
        try:
            value = _execute(connection, query, params, self._begin)
        except _Repeatable as failure:
            if connection.broken or connection.closed or failure.state == _READ_ONLY:
                connection.close()
                self._connection = None
            raise
        finally:
            self.busy_since = None
        if self._outage is not None:
            self._outage.answered_at = time.monotonic()
        return value

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        self._connection = self._connect()
        if self._outage is not None:
            self._outage.over()
        is_again, self._was_connected = self._was_connected, True
        if is_again and self.on_reconnect is not None:
            self.on_reconnect()
            # It uses this connection, which may have broken over it.
            return self._connected()
        return self._connection

    def _connect(self) -> psycopg.Connection[Any]:
        self._dial = dial = Dial(self.conninfo, self._name, self._bounds)
        try:
            connection = dial.connection()
        except psycopg.Error as error:
            reason = mask_passwords(message_of(error))
            endless = self._patience is None and self._was_connected
            raise _Repeatable(
                f"cannot connect to the database: {reason}",
                error,
                sent=False,
                hopeless=not endless and is_hopeless(error, reason),
            ) from error
        finally:
            self._dial = None
        if dial.reads_only and not self._bounds.read_only:
            connection.close()
            raise _Repeatable(
                "this server only reads (a standby): use the primary", None, sent=False
            )
        self.server_pid, self._begin = dial.pid, dial.begin
        patrol.watch(self)
        return connection

    def _attempts(self) -> Attempts:
        return Attempts(self._patience, pause=self._pause, outage=self._outage)

    def _revive(self) -> None:
        if self._connection is None and self._on_lost is not None:
            with suppress(PgflowError):
                self._on_lost()


def ask_within(connection: JoinedConnection, query: LiteralString, params: Sequence[object]) -> Any:
    """Return the one value of a statement in the caller's own transaction."""
    try:
        return _execute(connection, query, params)
    except _Repeatable as failure:
        raise Unavailable(failure.message) from failure.cause


class _Repeatable(Exception):
    """The statement may be sent again; with `sent`, it may have been executed."""

    def __init__(
        self,
        message: str,
        cause: Exception | None,
        *,
        sent: bool,
        hopeless: bool = False,
    ) -> None:
        self.message = message
        self.cause = cause
        self.sent = sent
        self.hopeless = hopeless
        self.state = getattr(cause, "sqlstate", None)
        self.answered = self.state not in (None, _READ_ONLY) and not sent
        super().__init__(message)


def _execute(
    connection: psycopg.Connection[Any],
    query: LiteralString,
    params: Sequence[object],
    begin: str = "",
) -> Any:
    try:
        with _transaction(connection, begin):
            # Not `connection.execute`: a caller's own connection may have another row factory.
            row = connection.cursor(row_factory=tuple_row).execute(query, params).fetchone()
    except psycopg.Error as error:
        broken = connection.broken or connection.closed
        state = error.sqlstate
        if broken or (state is not None and _REPEATABLE.match(state)):
            raise _Repeatable(
                f"the database did not answer: {mask_passwords(message_of(error))}",
                error,
                sent=broken,
            ) from error
        raise translated(error) from error
    return row[0] if row else None


@contextmanager
def _transaction(connection: psycopg.Connection[Any], begin: str) -> Iterator[None]:
    """Keep a statement in a transaction of its own if there is a beginning of one."""
    if not begin:
        yield
        return
    connection.execute(begin.encode())
    try:
        yield
    except BaseException:
        with suppress(psycopg.Error):
            connection.execute("rollback")
        raise
    connection.execute("commit")
