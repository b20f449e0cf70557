"""One attempt: its arguments, the call, and the outcome; catches every exception of a handler."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pgflow_yaml import handlers
from pgflow_yaml.errors import PermanentError, RetryLater
from pgflow_yaml.worker.calls import (
    Context,
    HandlerUnavailable,
    SecretMissing,
    Unserialisable,
    clean,
    end_forked,
    error_record,
    fork_depth,
    invoke,
    masks,
    reading,
    to_json_text,
)
from pgflow_yaml.worker.failpoints import failpoint
from pgflow_yaml.worker.streams import Speaker, speaker
from pgflow_yaml.worker.task import NOT_BEGUN, RELEASED, Outcome
from pgflow_yaml.worker.transactions import NotCommitted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Handler
    from pgflow_yaml.worker.logs import Logs
    from pgflow_yaml.worker.task import Task
    from pgflow_yaml.worker.transactions import Transactions

log = logging.getLogger(__name__)

_OWN_FILES = frozenset({__file__, invoke.__code__.co_filename, reading.__file__}) | {
    str(file) for file in Path(handlers.__file__).parent.glob("*.py")
}
_LONGEST_DELAY_MS = 10 * 365 * 86_400_000


def run(
    task: Task,
    handler: Handler,
    beat: Callable[[], None],
    *,
    logs: Logs | None = None,
    transactions: Transactions | None = None,
) -> Outcome:
    """Call a synchronous handler in this thread, unless its task is cancelled.

    An executor that runs handlers outside of the worker's process has no `transactions`.
    """
    if task.cancelled:
        return RELEASED
    if task.context.span is None:
        return _run(task, handler, beat, logs=logs, transactions=transactions)
    with task.context.span(task) as ended:
        return ended(_run(task, handler, beat, logs=logs, transactions=transactions))


def _run(
    task: Task,
    handler: Handler,
    beat: Callable[[], None],
    *,
    logs: Logs | None,
    transactions: Transactions | None,
) -> Outcome:
    began, depth = time.monotonic(), fork_depth()
    call = Speaker(task, logs)
    token = speaker.set(call)
    try:
        failpoint("before_handler")
        value = task.arguments()
        ctx = _context(task, beat, call) if handler.takes_ctx else None
        if time.monotonic() > task.begin_by:
            return NOT_BEGUN
        if not handler.takes_tx:
            output = invoke(handler, value, ctx, named=task.call.by_name)
            if inspect.iscoroutine(output):
                _refuse(output)
            return _completed(output, depth, began)
        with _checked(handler, transactions).of(task) as of_task:
            with _forks_ended(depth):
                output = invoke(handler, value, ctx, named=task.call.by_name, tx=of_task.tx)
            if inspect.iscoroutine(output):
                _refuse(output)
            return of_task.complete(_completed(output, depth, began))
    except BaseException as error:  # noqa: BLE001 (R-5: even SystemExit fails the attempt only)
        end_forked(depth, error)
        return failure(error, began=began)
    finally:
        call.end()
        speaker.reset(token)


async def run_async(
    task: Task,
    handler: Handler,
    beat: Callable[[], None],
    *,
    logs: Logs | None = None,
    transactions: Transactions | None = None,
) -> Outcome:
    """Await an asynchronous handler; `transactions` as for `run`."""
    if task.context.span is None:
        return await _run_async(task, handler, beat, logs=logs, transactions=transactions)
    with task.context.span(task) as ended:
        return ended(await _run_async(task, handler, beat, logs=logs, transactions=transactions))


async def _run_async(
    task: Task,
    handler: Handler,
    beat: Callable[[], None],
    *,
    logs: Logs | None,
    transactions: Transactions | None,
) -> Outcome:
    began, depth = time.monotonic(), fork_depth()
    call = Speaker(task, logs)
    speaker.set(call)  # of this coroutine alone
    try:
        failpoint("before_handler")
        # A provider of secrets may block, and must not block the loop.
        value = await asyncio.to_thread(task.arguments) if task.call.secrets else task.arguments()
        ctx = _context(task, beat, call) if handler.takes_ctx else None
        if time.monotonic() > task.begin_by:
            return NOT_BEGUN
        if not handler.takes_tx:
            result = invoke(handler, value, ctx, named=task.call.by_name)
            output = await result if inspect.isawaitable(result) else result
            return _completed(output, depth, began)
        async with _checked(handler, transactions).of_async(task) as of_task:
            with _forks_ended(depth):
                result = invoke(handler, value, ctx, named=task.call.by_name, tx=of_task.tx)
                output = await result if inspect.isawaitable(result) else result
            return await of_task.complete(_completed(output, depth, began))
    except BaseException as error:  # noqa: BLE001 (R-5: even SystemExit fails the attempt only)
        end_forked(depth, error)
        # A cancelled handler has stopped: a run that is ending waits for this report (engine §4.3).
        return RELEASED if task.cancelled else failure(error, began=began)
    finally:
        call.end()


def _completed(output: object, depth: int, began: float) -> Outcome:
    end_forked(depth)
    failpoint("after_handler")
    return Outcome("completed", output=masks.json_text(to_json_text(output)), began=began)


def _refuse(output: Coroutine[object, object, object]) -> NoReturn:
    output.close()
    raise PermanentError(_HIDDEN_COROUTINE)


def _checked(handler: Handler, transactions: Transactions | None) -> Transactions:
    """Return the transactions for a handler; raise if it cannot be given one."""
    if handler.tx_problem:
        raise PermanentError(handler.tx_problem)
    if transactions is None:
        raise PermanentError(_NO_TRANSACTION)
    return transactions


@contextmanager
def _forks_ended(depth: int) -> Iterator[None]:
    """End what a handler has forked before its transaction: they share the connection."""
    try:
        yield
    except BaseException as error:
        end_forked(depth, error)
        raise
    end_forked(depth)


_NO_TRANSACTION = (
    "there is no transaction `tx` here: this executor runs handlers outside of the worker's process"
)
_HIDDEN_COROUTINE = (
    "the handler returned a coroutine: what wraps an `async def` must itself be `async def`"
)


def failure(error: BaseException, *, began: float) -> Outcome:
    """Return the outcome of an attempt that an exception ended."""
    if isinstance(error, NotCommitted):
        return error.outcome
    kind, delay_ms = "failed", None
    record: dict[str, Json]
    if isinstance(error, Unserialisable):
        kind = "fatal"
        record = {"type": "UnserialisableOutput", "message": clean(f"output {error}")}
    else:
        record = error_record(error, own=_OWN_FILES)
    if isinstance(error, RetryLater):
        kind, delay_ms = "retry_later", _milliseconds(error.delay)
    elif isinstance(error, PermanentError) or _is_mistake(error, record):
        kind = "fatal"
    return Outcome(kind, error=record, delay_ms=delay_ms, began=began)


def call_failure(task: Task, error: BaseException) -> Outcome:
    """Return the outcome of an error that the handler did not raise."""
    if isinstance(error, HandlerUnavailable):  # released, and refused from now on
        task.refused = error.reason
        return RELEASED
    log.error("a call went wrong in the worker itself", exc_info=error, extra=task.fields("failed"))
    return Outcome("failed", error=error_record(error))


def _is_mistake(error: BaseException, record: dict[str, Json]) -> bool:
    """Return True if each attempt would fail: wrong arguments, or `with` has no value."""
    from pgflow_yaml.language.expressions import ExpressionError

    return isinstance(error, ExpressionError | SecretMissing) or (
        isinstance(error, TypeError) and record.get("trace") == ""
    )


def _context(task: Task, beat: Callable[[], None], call: Speaker) -> Context:
    # An import of the handler's module has used some of it.
    left = task.deadline - time.monotonic() if task.deadline else task.call.timeout
    return Context(
        task,
        run_input=task.context.run_input,
        beat=beat,
        timeout=left,
        report=call.report,
        link=task.context.approval_link,
    )


def _milliseconds(delay: object) -> int:
    if not isinstance(delay, int | float) or math.isnan(delay):
        return 0
    return int(max(0, min(delay * 1000, _LONGEST_DELAY_MS)))
