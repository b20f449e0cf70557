"""The transactions of handlers with a parameter `tx`, in which their completions commit.

Two small classes say the same statements (transaction_statements), one for threads and one for an
event loop.
"""

from __future__ import annotations

import threading
import time
import typing
from collections import deque
from contextlib import suppress
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from pgflow_yaml.database.store.dial import cut, open_async, open_connection
from pgflow_yaml.database.store.errors import message_of, translated
from pgflow_yaml.database.store.transaction_statements import (
    NAME,
    Attempt,
    begin,
    settle,
)
from pgflow_yaml.errors import Unavailable
from pgflow_yaml.text import mask_passwords

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgflow_yaml.database.store.transaction_statements import Statement, Statements
    from pgflow_yaml.database.store.workers import TurnReply
    from pgflow_yaml.language.model import Json

_IDLE_SECONDS = 60.0
_LEVEL = psycopg.IsolationLevel.READ_COMMITTED  # whatever the default of the role or database is


def kinds(annotation: object) -> set[str]:
    """Return the kinds of handlers, "def" and "async def", whose `tx` is of such a type."""
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return set().union(*map(kinds, typing.get_args(annotation)))
    kind = typing.get_origin(annotation) or annotation
    families = {"def": psycopg.Connection, "async def": psycopg.AsyncConnection}
    return {name for name, family in families.items() if kind in family.__mro__}


Link = TypeVar("Link", bound=psycopg.Connection[Any] | psycopg.AsyncConnection[Any])


class _Transaction(Generic[Link]):
    """One transaction, on a connection that nothing else uses meanwhile."""

    def __init__(self, links: Links, attempt: Attempt, idle: deque[tuple[float, Link]]) -> None:
        self._links = links
        self._attempt = attempt
        self._idle = idle
        self._link: Link | None = None
        self._block: Any = None  # psycopg's, which forbids the handler to commit
        self._was_cut = False
        self._has_committed = False

    @property
    def connection(self) -> Link:
        """The connection, for the handler."""
        assert self._link is not None
        return self._link

    @property
    def is_lost(self) -> bool:
        """True if the connection has broken: nothing of the transaction remains."""
        return self._link is not None and self._link.broken

    def cut(self) -> None:
        """Cut the connection, from another thread; the server ends what it does for it."""
        self._was_cut = True
        link = self._link
        if link is None or link.closed:
            return
        with suppress(psycopg.Error, RuntimeError):  # no more threads: then it is cut only
            cancel = link.pgconn.get_cancel()
            cut(link)
            threading.Thread(target=_cancel, args=[cancel], daemon=True).start()

    def _settling(self, report: str, options: Mapping[str, Json]) -> Statements:
        status = self.connection.info.transaction_status
        return settle(self._attempt, status, report, options)

    def _take(self) -> Link | None:
        with suppress(IndexError):
            return self._idle.pop()[1]
        return None

    def _is_sound(self) -> bool:
        """True if the transaction is open, or has committed: the handler has not ended it."""
        link = self._link
        if link is None or link.closed or self._was_cut:
            return False
        return self._has_committed or link.info.transaction_status != TransactionStatus.IDLE

    def _put_back(self) -> None:
        """Keep the connection, which is as new, for another attempt."""
        link, self._link = self.connection, None
        link.row_factory = tuple_row
        self._idle.append((time.monotonic(), link))
        self._links.close_late()


def _cancel(cancel: psycopg.pq.abc.PGcancel) -> None:
    with suppress(psycopg.Error):
        cancel.cancel()


def _unavailable(error: psycopg.Error) -> Unavailable:
    reason = mask_passwords(message_of(error))
    return Unavailable(f"cannot connect to the database: {reason}")


class Transaction(_Transaction[psycopg.Connection[Any]]):
    """A transaction for a handler in a thread."""

    def begin(self) -> None:
        """Connect and begin; raise Unavailable."""
        while True:
            self._link = self._take()
            is_new = self._link is None
            try:
                if self._link is None:
                    self._link = open_connection(self._links.conninfo, NAME)
                    self._link.isolation_level = _LEVEL
                self._block = self._link.transaction()
                self._block.__enter__()
                self._say(begin(self._attempt, self._links.more()))
            except psycopg.Error as error:
                self.close()
                if is_new:
                    raise _unavailable(error) from error
            except BaseException:  # nobody knows how far it is
                self.close()
                raise
            else:
                return

    def settle(self, report: str, options: Mapping[str, Json]) -> TurnReply:
        """Settle the report of the attempt; raise what the database refuses."""
        try:
            reply: TurnReply = self._say(self._settling(report, options))
        except psycopg.Error as error:
            if self.is_lost:
                raise
            raise translated(error) from error
        return reply

    def commit(self) -> None:
        """Commit; if this raises and the connection is lost, nobody knows whether it has."""
        self._block.__exit__(None, None, None)
        self._has_committed = True

    def end(self) -> None:
        """Roll back what is open, and keep the connection for another attempt."""
        try:
            if self._is_sound():
                with suppress(psycopg.Error):
                    if not self._has_committed:
                        self._block.__exit__(psycopg.Rollback, psycopg.Rollback(), None)
                    self.connection.execute("discard all")
                    self._put_back()
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.close()

    def _say(self, statements: Statements) -> Any:
        cursor = psycopg.Cursor(self.connection, row_factory=tuple_row)
        error: psycopg.Error | None = None
        row: tuple[Any, ...] | None = None
        while True:
            try:
                query, params = statements.send(row) if error is None else statements.throw(error)
            except StopIteration as end:
                return end.value
            row = error = None
            try:
                cursor.execute(query, params)
                row = cursor.fetchone() if cursor.description else None
            except psycopg.Error as failure:
                error = failure


class AsyncTransaction(_Transaction[psycopg.AsyncConnection[Any]]):
    """The same for a handler on an event loop."""

    async def begin(self) -> None:
        """Connect and begin; raise Unavailable."""
        while True:
            self._link = self._take()
            is_new = self._link is None
            try:
                if self._link is None:
                    self._link = await open_async(self._links.conninfo, NAME)
                    await self._link.set_isolation_level(_LEVEL)
                self._block = self._link.transaction()
                await self._block.__aenter__()
                await self._say(begin(self._attempt, self._links.more()))
            except psycopg.Error as error:
                await self.close()
                if is_new:
                    raise _unavailable(error) from error
            except BaseException:  # a cancelled coroutine too: nobody knows how far it is
                await self.close()
                raise
            else:
                return

    async def settle(self, report: str, options: Mapping[str, Json]) -> TurnReply:
        """Settle the report of the attempt; raise what the database refuses."""
        try:
            reply: TurnReply = await self._say(self._settling(report, options))
        except psycopg.Error as error:
            if self.is_lost:
                raise
            raise translated(error) from error
        return reply

    async def commit(self) -> None:
        """Commit; if this raises and the connection is lost, nobody knows whether it has."""
        await self._block.__aexit__(None, None, None)
        self._has_committed = True

    async def end(self) -> None:
        """Roll back what is open, and keep the connection for another attempt."""
        try:
            if self._is_sound():
                with suppress(psycopg.Error):
                    if not self._has_committed:
                        await self._block.__aexit__(psycopg.Rollback, psycopg.Rollback(), None)
                    await self.connection.execute("discard all")
                    self._put_back()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._link is not None:
            await self._link.close()

    async def _say(self, statements: Statements) -> Any:
        cursor = psycopg.AsyncCursor(self.connection, row_factory=tuple_row)
        error: psycopg.Error | None = None
        row: tuple[Any, ...] | None = None
        while True:
            try:
                query, params = statements.send(row) if error is None else statements.throw(error)
            except StopIteration as end:
                return end.value
            row = error = None
            try:
                await cursor.execute(query, params)
                row = await cursor.fetchone() if cursor.description else None
            except psycopg.Error as failure:
                error = failure


class Links:
    """The connections for transactions of handlers: one for each that runs, kept for a minute."""

    def __init__(
        self,
        conninfo: str,
        *,
        more: Callable[[], Sequence[Statement]] = tuple,
    ) -> None:
        """`more` returns statements for the beginning of each transaction."""
        self.conninfo = conninfo
        self.more = more
        self._closed = False
        self._idle: deque[tuple[float, psycopg.Connection[Any]]] = deque()
        self._idle_async: deque[tuple[float, psycopg.AsyncConnection[Any]]] = deque()

    def transaction(self, attempt: Attempt) -> Transaction:
        """Return a transaction for an attempt, which has not begun."""
        return Transaction(self, attempt, self._idle)

    def async_transaction(self, attempt: Attempt) -> AsyncTransaction:
        """Return a transaction for an attempt on an event loop, which has not begun."""
        return AsyncTransaction(self, attempt, self._idle_async)

    def close_idle(self, seconds: float = _IDLE_SECONDS) -> None:
        """Close the connections that nothing has needed for so long; any thread may call this."""
        for idle in (self._idle, self._idle_async):
            # The one that was used last is taken first, so the left end is the oldest.
            while idle and idle[0][0] <= time.monotonic() - seconds:
                with suppress(IndexError):  # another thread has just taken it
                    _, link = idle.popleft()
                    link.pgconn.finish()

    def close(self) -> None:
        """Close them all; one that is in use is closed after its attempt."""
        self._closed = True
        self.close_idle(0)

    def close_late(self) -> None:
        """Close what has just been put back, if all were closed before."""
        if self._closed:
            self.close_idle(0)
