"""Opening connections to PostgreSQL with bounded waits, and cutting them from other threads."""

from __future__ import annotations

import math
import re
import select
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from os import dup
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ExecStatus

from pgflow_yaml.database.store.errors import message_of
from pgflow_yaml.errors import Unavailable
from pgflow_yaml.text import mask_passwords

if TYPE_CHECKING:
    from pgflow_yaml.database.store.attempts import Attempts

_TCP = {  # a half-open connection is noticed within 15 s
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
_STATEMENT_SECONDS = 30.0
_LIMITS = "-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"
_HOPELESS = re.compile(
    "authentication failed|does not exist|no pg_hba.conf|no password supplied|not permitted"
    "|certificate"
)
_NO_SUCH_OPTION = "unsupported startup parameter"
_FACTS = b"""select pg_catalog.pg_is_in_recovery(), pg_catalog.pg_backend_pid(),
  pg_catalog.current_setting('default_transaction_read_only'),
  extract(epoch from pg_catalog.current_setting('statement_timeout')::pg_catalog.interval)"""
_FACTS_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Promises of a session beside those of every session: to write nothing, to be short.

    They are options of the session; `begin` keeps them for one statement where a pooler hides the
    options from the server.
    """

    read_only: bool = False
    statement_seconds: float | None = None

    @property
    def options(self) -> str:
        """Options of the session."""
        read_only = "-c default_transaction_read_only=on" * self.read_only
        if self.statement_seconds is None:
            return read_only
        return f"{read_only} -c statement_timeout={self.statement_seconds * 1000:.0f}".strip()

    @property
    def begin(self) -> str:
        """The beginning of a transaction that keeps them."""
        milliseconds = (self.statement_seconds or _STATEMENT_SECONDS) * 1000
        mode = " read only" * self.read_only
        return f"begin{mode}; set local statement_timeout = {milliseconds:.0f}"

    def are_kept(self, read_only: str | None, seconds: str | None) -> bool:
        """Return True if these settings of a session keep them."""
        asked = self.statement_seconds
        is_short = asked is None or math.isclose(float(seconds or 0), asked, abs_tol=0.001)
        return is_short and (read_only == "on" or not self.read_only)


NO_BOUNDS = Bounds()


def is_hopeless(error: psycopg.Error, reason: str) -> bool:
    """Return True if another attempt to connect would fail in the same way."""
    is_no_conninfo = isinstance(error, psycopg.ProgrammingError)
    return is_no_conninfo or _HOPELESS.search(reason) is not None


def open_connection(conninfo: str, name: str, limits: str = "") -> psycopg.Connection[Any]:
    """Connect with bounded waits; raise the driver's errors."""
    limited, plain = _bounded(conninfo, name, limits)
    try:
        return _connect(limited)
    except psycopg.OperationalError as error:
        # pgbouncer knows no `options`; the patrol then ends what takes too long.
        if _NO_SUCH_OPTION not in str(error):
            raise
        return _connect(plain)


async def open_async(conninfo: str, name: str) -> psycopg.AsyncConnection[Any]:
    """Connect as `open_connection` does, on the event loop that runs."""
    limited, plain = _bounded(conninfo, name)
    try:
        return await _connect_async(limited)
    except psycopg.OperationalError as error:
        if _NO_SUCH_OPTION not in str(error):
            raise
        return await _connect_async(plain)


def _bounded(conninfo: str, name: str, more: str = "") -> tuple[str, str]:
    """Return a conninfo with bounded waits, and the same without limits of statements."""
    _refuse_ambiguous_url(conninfo)
    user_settings = conninfo_to_dict(conninfo)
    limits = " ".join(filter(None, (str(user_settings.get("options") or ""), _LIMITS, more)))
    settings: dict[str, Any] = {"application_name": name, **_TCP, **user_settings}
    return make_conninfo("", **{**settings, "options": limits}), make_conninfo("", **settings)


def _refuse_ambiguous_url(conninfo: str) -> None:
    """Refuse a URL whose password is cut at an `@` or `/`: the rest would be shown as a host."""
    scheme, is_url, rest = conninfo.partition("://")
    authority, _, path = rest.partition("?")[0].partition("/")
    if is_url and scheme.isalpha() and (authority.count("@") > 1 or "@" in path):
        raise psycopg.ProgrammingError(
            "its URL has an unescaped @ or / in the user, the password or the name of the "
            "database: write %40 or %2F"
        )


def open_patiently(conninfo: str, name: str, attempts: Attempts) -> psycopg.Connection[Any]:
    """Connect within these attempts; raise Unavailable after the last."""
    while True:
        try:
            connection = open_connection(conninfo, name)
        except psycopg.Error as error:
            reason = mask_passwords(message_of(error))
            message = f"cannot connect to the database: {reason}"
            if is_hopeless(error, reason) or attempts.spent():
                raise Unavailable(message) from error
            attempts.rest(message)
        else:
            attempts.reached()
            return connection


def _connect(conninfo: str) -> psycopg.Connection[Any]:
    # No prepared statements: behind pgbouncer the next statement may meet another backend.
    try:
        return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
    except OSError as error:  # no free descriptor: the driver passes it on
        raise psycopg.OperationalError(f"the system refused: {error.strerror or error}") from error


async def _connect_async(conninfo: str) -> psycopg.AsyncConnection[Any]:
    connect = psycopg.AsyncConnection.connect
    try:
        return await connect(conninfo, autocommit=True, prepare_threshold=None)
    except OSError as error:
        raise psycopg.OperationalError(f"the system refused: {error.strerror or error}") from error


def answer(
    connection: psycopg.Connection[Any], query: bytes, seconds: float
) -> list[str | None] | None:
    """Return the first row of a query, or None without an answer in time; raise driver errors."""
    pgconn = connection.pgconn
    deadline = time.monotonic() + seconds
    pgconn.send_query(query)
    pgconn.flush()
    replies = select.poll()  # `select` knows the first 1,024 descriptors of a process only
    replies.register(pgconn.socket, select.POLLIN)
    while pgconn.is_busy():
        left = deadline - time.monotonic()
        if left <= 0 or not replies.poll(left * 1000):
            return None
        pgconn.consume_input()
    row: list[str | None] = []
    while (result := pgconn.get_result()) is not None:
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
        if result.ntuples:
            values = (result.get_value(0, column) for column in range(result.nfields))
            row = [None if value is None else value.decode() for value in values]
    return row


def cut(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any] | None) -> None:
    """Cut a connection that another thread uses."""
    if connection is None or connection.closed:
        return
    with (
        suppress(psycopg.Error, OSError),
        socket.socket(fileno=dup(connection.pgconn.socket)) as twin,
    ):
        twin.shutdown(socket.SHUT_RDWR)


class Dial:
    """One attempt to connect, in a thread of its own so that another thread can end the wait."""

    def __init__(self, conninfo: str, name: str, bounds: Bounds = NO_BOUNDS) -> None:
        self.reads_only = False
        self.begin = ""
        """The beginning of the transaction that each statement needs; empty if it needs none."""
        self.began = time.monotonic()
        self.pid: int | None = None
        """The process of the server that serves the connection; None behind a pooler."""
        self._conninfo, self._name, self._bounds = conninfo, name, bounds
        self._replies: SimpleQueue[psycopg.Connection[Any] | Exception] = SimpleQueue()
        self._ended = False
        self._lock = threading.Lock()

    def connection(self) -> psycopg.Connection[Any]:
        """Connect; raise the driver's errors."""
        threading.Thread(target=self._run, name="pgflow-dial", daemon=True).start()
        try:
            reply = self._replies.get()
        except BaseException:
            self.cut()
            raise
        if isinstance(reply, Exception):
            raise reply
        return reply

    def cut(self) -> None:
        """End the wait of the other thread; a connection that comes later is closed."""
        self._reply(psycopg.OperationalError("the attempt to connect was given up"))

    def _run(self) -> None:
        try:
            limits = self._bounds.options
            self._reply(self._checked(open_connection(self._conninfo, self._name, limits)))
        except Exception as error:  # noqa: BLE001 (raised again where the connection is wanted)
            self._reply(error)

    def _checked(self, connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
        """Return a connection on which the server answers; else close it and raise."""
        row: list[str | None] | None = None
        try:
            row = answer(connection, _FACTS, _FACTS_SECONDS)
        finally:
            if not row:  # no answer in time, or the connection broke over it
                connection.close()
        if not row:
            raise psycopg.OperationalError("the server accepts connections and is silent")
        self.reads_only = row[0] == "t"
        pid = int(row[1] or 0)
        self.pid = pid if pid == connection.pgconn.backend_pid else None
        # Behind a pooler, another statement may meet another session.
        are_kept = self._bounds.are_kept(*row[2:]) and self.pid is not None
        if self._bounds != NO_BOUNDS and not are_kept:
            self.begin = self._bounds.begin
        return connection

    def _reply(self, reply: psycopg.Connection[Any] | Exception) -> None:
        with self._lock:
            is_late, self._ended = self._ended, True
        if not is_late:
            self._replies.put(reply)
        elif isinstance(reply, psycopg.Connection):
            reply.close()
