"""Call the tasks of a tested run: the mock of a task, or its own handler."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.testing.flows import STAND_IN
from pgflow_yaml.worker import attempt
from pgflow_yaml.worker.calls import HandlerUnavailable, to_json_text
from pgflow_yaml.worker.task import Outcome, timed_out

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.testing.model import Mock, Play, Raised
    from pgflow_yaml.worker.calls import Handlers
    from pgflow_yaml.worker.task import Task
    from pgflow_yaml.worker.transactions import Transactions


class NoHandler(PgflowError):
    """A step has neither a mock nor a handler that can be called."""

    def __init__(self, step: str, reason: str) -> None:
        self.step = step
        super().__init__(f'step "{step}" {reason}')


class Caller:
    """Caller of the tasks of one case; `arguments` has those of the last call of each step."""

    def __init__(self, handlers: Handlers, transactions: Transactions) -> None:
        self._handlers = handlers
        self._transactions = transactions
        self._calls: Counter[tuple[str, str, int]] = Counter()
        self.arguments: dict[str, Json] = {}

    def call(self, task: Task, mock: Mock | None, *, noted_as: str | None) -> int:
        """Set the outcome of the task; return its duration in milliseconds of the run.

        Its arguments are stored under `noted_as`. Raises NoHandler.
        """
        number = self._calls[task.key]
        self._calls[task.key] += 1
        play = _play(task, mock, number)
        if play is None or play.real:
            self._note(task, noted_as)
            task.outcome = self._real(task)
            return play.sleep if play else 0
        try:
            self._note(task, noted_as, strict=True)
        except Exception as error:  # noqa: BLE001 (a worker reports it as well)
            task.outcome = attempt.failure(error, began=0.0)
            return 0
        limit = int(task.call.timeout * 1000)
        if play.sleep >= limit:
            task.outcome = timed_out(task)
            return limit
        task.outcome = _mocked(play)
        return play.sleep

    def _note(self, task: Task, noted_as: str | None, *, strict: bool = False) -> None:
        try:
            arguments = task.arguments()
        except Exception:
            if strict:
                raise
        else:
            if noted_as is not None:
                self.arguments[noted_as] = arguments

    def _real(self, task: Task) -> Outcome:
        if task.call.handler == STAND_IN:
            reason = "runs a flow, and this call has no outcome: mock all of its runs or none"
            raise NoHandler(task.step, reason)
        try:
            handler = self._handlers.get(task.call.handler)
        except HandlerUnavailable as error:
            raise NoHandler(task.step, f"has no mock, and its {error.message}") from error
        task.begin()
        if handler.is_async:
            call = attempt.run_async(task, handler, _no_beat, transactions=self._transactions)
            return asyncio.run(_within(task, call))
        return attempt.run(task, handler, _no_beat, transactions=self._transactions)


def _no_beat() -> None:
    """Send no heartbeat: leases do not expire in virtual time."""


async def _within(task: Task, call: Coroutine[None, None, Outcome]) -> Outcome:
    """Return the outcome of a call; at its timeout it is cancelled, as in a worker."""
    running = asyncio.ensure_future(call)
    await asyncio.wait([running], timeout=task.call.timeout)
    if running.done():
        return running.result()
    task.cancelled = True
    return timed_out(task)  # the end of the event loop cancels it


def _play(task: Task, mock: Mock | None, number: int) -> Play | None:
    """Return the play of the n-th call, of the item's mock or else the step's; the last repeats."""
    if mock is None:
        return None
    plays = mock.items[task.index].plays if task.index in mock.items else mock.plays
    return plays[min(number, len(plays) - 1)] if plays else None


def _mocked(play: Play) -> Outcome:
    if play.raises is None:
        return Outcome("completed", output=to_json_text(play.output))
    return _raised(play.raises)


def _raised(raised: Raised) -> Outcome:
    error: dict[str, Json] = {"type": raised.type, "message": raised.message}
    if raised.type == "RetryLater":
        return Outcome("retry_later", error=error, delay_ms=raised.delay or 0)
    return Outcome("fatal" if raised.type == "PermanentError" else "failed", error=error)
