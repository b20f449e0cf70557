"""A connection to PostgreSQL: bounded waits, reconnection, and this package's errors (R-7)."""

from __future__ import annotations

import logging
import os
import random
import re
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row

from pgflow_yaml.database.store.errors import Refused, message_of, translated
from pgflow_yaml.errors import PgflowError, Unavailable
from pgflow_yaml.text import mask_passwords

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

JoinedConnection: TypeAlias = psycopg.Connection[Any]
"""A caller's own connection, whose transaction a start joins."""

log = logging.getLogger(__name__)

# R-7 allows 30 s, but five seconds after the database is back all must work again (G5).
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.1, 4.0, 1.5
_TCP = {  # a half-open connection is noticed within 15 s
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
_LIMITS = "-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"
_REPEATABLE = re.compile("08|53|57|40001|40P01|55P03|25006")
_HOPELESS = re.compile(
    "authentication failed|does not exist|no pg_hba.conf|no password supplied|not permitted"
    "|could not translate host name|certificate",
)
_READ_ONLY = "25006"  # no longer the primary: another connection may find it
_TIMED_OUT, _MOST_TIMEOUTS = "57014", 3  # a statement that is always too slow must not go on
_NO_SUCH_OPTION = "unsupported startup parameter"


class Connection:
    """A connection, opened when first needed and again when it breaks."""

    def __init__(
        self,
        conninfo: str,
        *,
        name: str = "pgflow-yaml",
        patience: float | None = 5.0,
        on_lost: Callable[[], None] | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        """`on_lost` may revive the server; `pause` may raise to end the attempts."""
        self.on_reconnect: Callable[[], None] | None = None
        self.busy_since: float | None = None
        self.conninfo = conninfo
        self._name = name
        self._patience = patience
        self._on_lost = on_lost
        self._pause = pause
        self._connection: psycopg.Connection[Any] | None = None
        self._was_connected = False
        self._logged_at = 0.0
        self._lock = threading.RLock()

    def close(self) -> None:
        """Disconnect; another call connects again."""
        with self._lock, suppress(psycopg.Error):
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def interrupt(self) -> None:
        """Cut the connection from another thread: a statement that waits fails at once."""
        cut(self._connection)

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
        self, query: LiteralString, params: Sequence[object], *, repeatable: bool = True
    ) -> Any:
        """Return the one value of a statement; reconnect and repeat it as needed."""
        with self._lock:
            began, tries, slow = time.monotonic(), 0, 0
            while True:
                try:
                    return self._run(query, params)
                except _Repeatable as failure:
                    if failure.sent and not repeatable:
                        raise Unavailable(
                            "the connection broke while a run was being started: it may or may not "
                            "have been; starting with a key (--key) can be repeated safely"
                        ) from failure.cause
                    waited = time.monotonic() - began
                    if failure.hopeless or self._gives_up(waited):
                        raise Unavailable(failure.message) from failure.cause
                    if failure.state == _TIMED_OUT and (slow := slow + 1) >= _MOST_TIMEOUTS:
                        raise Refused(failure.message, sqlstate=_TIMED_OUT) from failure.cause
                    self._rest(tries, waited, failure)
                    tries += 1

    def _run(self, query: LiteralString, params: Sequence[object]) -> Any:
        connection = self._connected()
        self.busy_since = time.monotonic()
        try:
            return _execute(connection, query, params)
        except _Repeatable as failure:
            if connection.broken or connection.closed or failure.state == _READ_ONLY:
                connection.close()
                self._connection = None
            raise
        finally:
            self.busy_since = None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        self._connection = self._connect()
        is_again, self._was_connected = self._was_connected, True
        if is_again:
            log.info("connected to the database again", extra={"action": "reconnect"})
            if self.on_reconnect is not None:
                self.on_reconnect()
                # It uses this connection, which may have broken over it.
                return self._connected()
        return self._connection

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            connection = open_connection(self.conninfo, self._name)
            row = connection.execute("select pg_catalog.pg_is_in_recovery()").fetchone()
        except psycopg.Error as error:
            reason = mask_passwords(message_of(error))
            raise _Repeatable(
                f"cannot connect to the database: {reason}",
                error,
                sent=False,
                hopeless=isinstance(error, psycopg.ProgrammingError)  # no conninfo at all
                or (self._patience is not None and _HOPELESS.search(reason) is not None),
            ) from error
        if row and row[0]:
            connection.close()
            raise _Repeatable(
                "this server only reads (a standby): use the primary", None, sent=False
            )
        return connection

    def _gives_up(self, waited: float) -> bool:
        return self._patience is not None and waited >= self._patience

    def _rest(self, tries: int, waited: float, failure: _Repeatable) -> None:
        """Wait, with full jitter; log at most every 10 s that the database is away."""
        now = time.monotonic()
        if self._patience is None and now - self._logged_at > 10:
            self._logged_at = now
            log.warning(
                "%s; trying again", failure.message, extra={"action": "reconnect", "tries": tries}
            )
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * _GROWTH ** min(tries, 30))
        if self._patience is not None:
            longest = min(longest, max(0.0, self._patience - waited))
        self._pause(random.uniform(0, longest))  # noqa: S311 (jitter is no secret)
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
        super().__init__(message)


def open_connection(conninfo: str, name: str) -> psycopg.Connection[Any]:
    """Connect with bounded waits; raise the driver's errors."""
    user_settings = conninfo_to_dict(conninfo)
    limits = f"{user_settings['options']} {_LIMITS}" if user_settings.get("options") else _LIMITS
    settings = {"application_name": name, **_TCP, **user_settings}
    try:
        return _dial(make_conninfo("", **{**settings, "options": limits}))
    except psycopg.OperationalError as error:
        # pgbouncer knows no `options`; the limits are then enforced by the watch of `busy_since`.
        if _NO_SUCH_OPTION not in str(error):
            raise
        return _dial(make_conninfo("", **settings))


def _dial(conninfo: str) -> psycopg.Connection[Any]:
    # No prepared statements: behind pgbouncer the next statement may meet another backend.
    return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)


def _execute(
    connection: psycopg.Connection[Any], query: LiteralString, params: Sequence[object]
) -> Any:
    try:
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


def cut(connection: psycopg.Connection[Any] | None) -> None:
    """Cut a connection that another thread uses."""
    if connection is None or connection.closed:
        return
    with (
        suppress(psycopg.Error, OSError),
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as twin,
    ):
        twin.shutdown(socket.SHUT_RDWR)
