"""A thread that cuts connections on which no answer will come (R-7).

TCP notices a network that is gone. A server or a pooler that is frozen, or a router that has
forgotten the connection, leaves a statement without an answer and without an error. After ten
seconds the thread asks the server over a new connection if it still works on the statement.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary, WeakSet

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgflow_yaml.database.store.dial import answer, open_connection

if TYPE_CHECKING:
    from collections.abc import Iterable

QUIET_SECONDS = 10.0
LONGEST_SECONDS = 45.0
"""The server ends a statement after 30 seconds, unless it is dead."""

_TICK_SECONDS = 0.5
_PROBE_SECONDS = "3"
_UPLOAD_BYTES = 200_000  # a second, on a slow line: the server works on a statement it has whole
_BUSY = sql.SQL(
    "select pg_catalog.string_agg(a.pid::text, ' ') from pg_catalog.pg_stat_activity a "
    "where a.pid = any({}::int[]) and a.state <> 'idle'"
)
_IS_FULL = re.compile("too many|connection slots")


class Watched(Protocol):
    """A connection of this process."""

    conninfo: str
    server_pid: int | None
    """The process that serves the connection; None behind a pooler."""
    busy_since: float | None
    """The time at which the statement was sent that has no answer yet."""

    def size(self) -> int:
        """Return the length of what was sent with it."""

    def interrupt(self) -> None:
        """Cut the connection: the statement fails at once."""


class Patrol:
    """Watch the connections of this process in one thread, which ends with the last of them."""

    def __init__(self) -> None:
        self._watched: WeakSet[Watched] = WeakSet()
        self._excused: WeakKeyDictionary[Watched, float] = WeakKeyDictionary()
        self._runs_in = 0
        self._lock = threading.Lock()

    def watch(self, connection: Watched) -> None:
        """Watch a connection for as long as it exists."""
        with self._lock:
            self._watched.add(connection)
            if self._runs_in != os.getpid():  # a fork has no thread
                self._runs_in = os.getpid()
                threading.Thread(target=self._run, name="pgflow-patrol", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(_TICK_SECONDS)
            with self._lock:
                watched = list(self._watched)
                if not watched:
                    self._runs_in = 0
                    return
            self._inspect(watched)
            del watched

    def _inspect(self, watched: Iterable[Watched]) -> None:
        suspects: dict[str, dict[Watched, float]] = defaultdict(dict)
        for connection in watched:
            since = connection.busy_since
            if since is not None and self._is_silent(connection, since):
                suspects[connection.conninfo][connection] = since
        for conninfo, silent in suspects.items():
            pids = [each.server_pid for each in silent if each.server_pid is not None]
            working = _working(conninfo, pids)
            now = time.monotonic()
            for connection, since in silent.items():
                if connection.busy_since != since:
                    continue
                pid = connection.server_pid
                is_excused = working is not None and (pid is None or pid in working)
                if is_excused and now - since < LONGEST_SECONDS:
                    self._excused[connection] = now + QUIET_SECONDS
                else:
                    connection.interrupt()

    def _is_silent(self, connection: Watched, since: float) -> bool:
        now = time.monotonic()
        if now - since < QUIET_SECONDS or now < self._excused.get(connection, 0.0):
            return False
        return now - since > QUIET_SECONDS + connection.size() / _UPLOAD_BYTES


patrol = Patrol()
"""The patrol of this process."""


def _working(conninfo: str, pids: list[int]) -> set[int] | None:
    """Return those server processes that work on a statement; None if the server is silent."""
    try:
        settings = make_conninfo(conninfo, connect_timeout=_PROBE_SECONDS)
        connection = open_connection(settings, "pgflow-yaml probe")
    except psycopg.Error as error:
        return set(pids) if _IS_FULL.search(str(error)) else None
    try:
        query = _BUSY.format(sql.Literal(pids)).as_bytes(connection)
        row = answer(connection, query, float(_PROBE_SECONDS))
    except psycopg.Error:
        return None
    finally:
        with suppress(psycopg.Error):
            connection.close()
    return None if row is None else {int(pid) for pid in (row[0] or "").split()}
