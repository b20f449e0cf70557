"""Questions to a database that end in time: a check that hangs hinders no other."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import errors
from psycopg.rows import dict_row

from pgflow_yaml.database.store.attempts import Attempts
from pgflow_yaml.database.store.dial import cut, open_connection, open_patiently
from pgflow_yaml.database.store.errors import message_of
from pgflow_yaml.text import mask_passwords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_NAME = "pgflow-yaml doctor"
# One snapshot for all statements of a check: what workers change meanwhile is no violation. A lock
# that somebody holds is waited for briefly, since each check would wait for it anew. Readers may
# ask for checks, too: even a function that somebody has replaced writes nothing here.
_BEGIN = """begin isolation level repeatable read read only;
set local lock_timeout = '1s'; set local search_path = pg_catalog, pg_temp; set local jit = off;
set local timezone = 'UTC'"""
_TIMEOUT = "select set_config('statement_timeout', %s, true)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The greatest values that are still all right: times in seconds, sizes in bytes."""

    check: float = 5
    unserved: float = 10
    oldest_task: float = 300
    timer: float = 5
    transaction: float = 300
    long_transaction: float = 3600
    dead_rows: int = 10_000
    dead_share: float = 0.3
    history: float = 90 * 86_400
    size: int = 1_000_000_000
    clock: float = 2


class NotAnswered(Exception):
    """A check could not be made; the message is a reason for people."""


class Inspector:
    """A connection for checks, opened again after one that hung."""

    def __init__(
        self, conninfo: str, limits: Limits, *, now: Callable[[], float] = time.time
    ) -> None:
        """Connect; raises Unavailable."""
        self.conninfo = conninfo
        self.limits = limits
        self.now = now
        self.connection = open_patiently(conninfo, _NAME, Attempts())

    def close(self) -> None:
        """Disconnect."""
        with suppress(psycopg.Error):
            self.connection.close()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask within the limit of a check, in one transaction; raises NotAnswered."""
        limit = self.limits.check
        cuts: list[bool] = []

        def give_up() -> None:
            cuts.append(True)
            cut(self.connection)

        watchdog = threading.Timer(limit + 0.5, give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            if self.connection.closed:
                self.connection = open_connection(self.conninfo, _NAME)
            self.connection.execute(_BEGIN)
            self.connection.execute(_TIMEOUT, [f"{limit * 1000:.0f}"])
            yield
        except psycopg.Error as error:
            raise NotAnswered(_reason(error, limit, hung=bool(cuts))) from error
        finally:
            watchdog.cancel()
            with suppress(psycopg.Error):
                self.connection.execute("rollback")
            if self.connection.broken:
                self.close()

    def rows(self, query: LiteralString, params: Sequence[object] = ()) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        return self.connection.cursor(row_factory=dict_row).execute(query, params).fetchall()

    def row(self, query: LiteralString, params: Sequence[object] = ()) -> dict[str, Any]:
        """Return the first row of a query."""
        return self.rows(query, params)[0]


def _reason(error: psycopg.Error, limit: float, *, hung: bool) -> str:
    message = mask_passwords(message_of(error))
    if hung or isinstance(error, errors.QueryCanceled):
        return f"no answer within {limit:g} s"
    if isinstance(error, errors.LockNotAvailable):
        return "another session holds a lock on what is to be read (see pg_locks)"
    if isinstance(error, errors.InsufficientPrivilege):
        return f"{message}; a member of pgflow_reader or the owner of the schema may"
    if isinstance(error, errors.UndefinedFunction | errors.UndefinedTable):
        return f"{message}: the tables and functions are not those of this release"
    return message
