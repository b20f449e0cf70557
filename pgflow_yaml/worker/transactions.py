"""The attempts of handlers with a parameter `tx`: what they write commits with their completion."""

from __future__ import annotations

import logging
import random
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from pgflow_yaml.database.store import (
    AsyncTransaction,
    Attempt,
    Links,
    Refused,
    Transaction,
    TransactionEnded,
)
from pgflow_yaml.errors import PgflowError, Unavailable
from pgflow_yaml.worker import ends
from pgflow_yaml.worker.calls import clean, summary
from pgflow_yaml.worker.failpoints import failpoint
from pgflow_yaml.worker.task import RELEASED, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pgflow_yaml.database.store import TurnReply
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.task import Task

log = logging.getLogger(__name__)

_MOST_BREAKS = 10
_NO_CONNECTION_MS = 2_000


class NotCommitted(Exception):
    """The transaction of an attempt was rolled back; `outcome` is what becomes of the attempt."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.kind)


class Transactions:
    """The transactions of a worker's handlers, each on a connection of its own."""

    def __init__(self, worker: str, links: Links) -> None:
        self._worker = worker
        self._links = links

    def close_idle(self) -> None:
        """Close the connections that nothing has needed for a minute."""
        self._links.close_idle()

    def close(self) -> None:
        """Close the connections."""
        self._links.close()

    @contextmanager
    def of(self, task: Task) -> Iterator[Handled]:
        """Give a transaction to the handler of a task; raise NotCommitted if it cannot commit."""
        transaction = self._links.transaction(self._attempt(task))
        task.transaction = transaction
        try:
            with _begun(task):
                transaction.begin()
            with _lost(task, transaction):
                yield Handled(task, transaction)
        finally:
            task.transaction = None
            transaction.end()

    @asynccontextmanager
    async def of_async(self, task: Task) -> AsyncIterator[AsyncHandled]:
        """Give a transaction to the handler of a task on an event loop."""
        transaction = self._links.async_transaction(self._attempt(task))
        task.transaction = transaction
        try:
            with _begun(task):
                await transaction.begin()
            with _lost(task, transaction):
                yield AsyncHandled(task, transaction)
        finally:
            task.transaction = None
            await transaction.end()

    def _attempt(self, task: Task) -> Attempt:
        return Attempt(
            worker=self._worker,
            run_id=task.run_id,
            label=task.label(),
            fence=task.fence,
            seconds=task.deadline - time.monotonic() if task.deadline else task.call.timeout,
        )


class Handled:
    """The call of a handler in its transaction."""

    def __init__(self, task: Task, transaction: Transaction) -> None:
        self._task = task
        self._transaction = transaction
        self.tx = transaction.connection

    def complete(self, outcome: Outcome) -> Outcome:
        """Settle the outcome in the transaction and commit; return it with its verdict."""
        with _refusals():
            reply = self._transaction.settle(self._task.report(outcome), _options())
        if _is_applied(self._task, outcome, reply):
            failpoint("before_tx_commit")
            self._transaction.commit()
            failpoint("after_tx_commit")
            ends.log_ends(reply)
        return outcome


class AsyncHandled:
    """The call of a handler on an event loop in its transaction."""

    def __init__(self, task: Task, transaction: AsyncTransaction) -> None:
        self._task = task
        self._transaction = transaction
        self.tx = transaction.connection

    async def complete(self, outcome: Outcome) -> Outcome:
        """Settle the outcome in the transaction and commit; return it with its verdict."""
        with _refusals():
            reply = await self._transaction.settle(self._task.report(outcome), _options())
        if _is_applied(self._task, outcome, reply):
            failpoint("before_tx_commit")
            await self._transaction.commit()
            failpoint("after_tx_commit")
            ends.log_ends(reply)
        return outcome


def _options() -> dict[str, Json]:
    return {"ended": ended} if (ended := ends.asked_for()) else {}


def _is_applied(task: Task, outcome: Outcome, reply: TurnReply) -> bool:
    """Note the verdict; return True if the transaction may commit."""
    (outcome.verdict,) = reply["verdicts"]
    if outcome.verdict != "applied":
        return False
    # From here on a heartbeat finds the task completed, and that is no reason to stop its handler.
    # Its outcome is set by who takes it out of the pool: another thread may just give it up.
    task.settling = True
    return True


@contextmanager
def _begun(task: Task) -> Iterator[None]:
    """Give the task back if its transaction cannot begin, or if it was cancelled meanwhile."""
    try:
        yield
    except Unavailable as error:
        if task.cancelled:
            raise NotCommitted(RELEASED) from error
        log.warning("no transaction for a handler: %s", error, extra=task.fields("released"))
        delay_ms = int(random.uniform(0.5, 1) * _NO_CONNECTION_MS)  # noqa: S311 (jitter)
        raise NotCommitted(Outcome("released", delay_ms=delay_ms)) from error
    if task.cancelled:
        raise NotCommitted(RELEASED)


@contextmanager
def _lost(task: Task, transaction: Transaction | AsyncTransaction) -> Iterator[None]:
    """Give the task back if its connection has broken: its handler has done nothing.

    Even if that happened in the commit: the report of the release waits until the server has ended
    it, and is refused if it has committed. A task that breaks one after another fails.
    """
    try:
        yield
    except NotCommitted:
        raise
    except BaseException as error:
        breaks = task.fence - task.attempt - task.iteration
        if not transaction.is_lost or (breaks >= _MOST_BREAKS and not task.cancelled):
            raise
        if not task.cancelled:
            log.warning(
                "the connection of `tx` broke: %s", summary(error), extra=task.fields("released")
            )
        raise NotCommitted(RELEASED) from error


@contextmanager
def _refusals() -> Iterator[None]:
    """Make a failure of what the database refuses to settle."""
    try:
        yield
    except TransactionEnded:
        raise
    except PgflowError as error:
        is_content = not isinstance(error, Refused) or error.is_content
        message = clean(f"the database refused the result: {error}")
        record: dict[str, Json] = {"type": "ResultRefused", "message": message}
        raise NotCommitted(Outcome("fatal" if is_content else "failed", error=record)) from error
