"""The event loop on which handlers written as `async def` run, in a thread of its own.

A handler that blocks the loop blocks all others on it: a warning names its step, and when its time
is up, the others go on with another loop (F9).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pgflow_yaml.worker.attempt import call_failure, run_async
from pgflow_yaml.worker.calls import summary
from pgflow_yaml.worker.executors.waiting import WaitingTasks
from pgflow_yaml.worker.task import RELEASED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Handler
    from pgflow_yaml.worker.executors.pool import Pool
    from pgflow_yaml.worker.task import Task

log = logging.getLogger(__name__)

_BLOCKED_SECONDS = 2.0
_LOOP_ENDED = "the event loop that the handler ran on has ended: another handler broke it"


class EventLoop(WaitingTasks):
    """Up to as many handlers at once as the pool has slots, all on one loop."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._lock = threading.Lock()
        self._loop: _Loop | None = None

    def takes(self, handler: Handler) -> bool:
        """Return True for handlers written as `async def`."""
        return handler.is_async

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks; each is awaited as soon as there is a slot."""
        self._queue.extend(tasks)
        self._current_loop().call(self._feed)

    def cancel(self, task: Task) -> None:
        """Cancel the coroutine of a task."""
        loop = self._loop
        if loop is not None:
            loop.cancel(task)

    def free(self, task: Task) -> None:
        """Free the slot of a coroutine, whether it ends or not.

        `check` replaces the loop if the coroutine blocks it.
        """
        loop = self._loop
        if loop is not None:
            loop.free(task, self._feed)

    def check(self) -> None:
        """Ask the loop for a sign of life; replace a dead one, or one that a handler blocks.

        Handlers awaited on a dead loop fail; the other handlers of a blocked one go back to the
        database.
        """
        loop = self._loop
        if loop is None:
            return
        if loop.dead:
            self._bury(loop)
        elif not loop.answers():
            self._leave_if_late(loop)

    def _bury(self, loop: _Loop) -> None:
        log.error(
            "the event loop has ended (%s): going on with another one",
            loop.broken_by,
            extra={"action": "failed"},
        )
        while loop.awaited:
            # Its coroutine wakes once more when it is garbage collected, and is ignored then.
            task, _ = loop.awaited.popitem()
            task.cancelled = True
            task.cut()  # nobody else ends its transaction, and the next attempt may need its locks
            error: dict[str, Json] = {"type": "EventLoopEnded", "message": _LOOP_ENDED}
            self._pool.finish(task, Outcome("failed", error=error))
        self._replace()

    def _leave_if_late(self, loop: _Loop) -> None:
        awaited = list(loop.awaited)
        blocking = next((task for task in awaited if task not in self._pool.running), None)
        if blocking is None:
            return
        log.error(
            "the event loop is blocked by a handler whose time is up: going on with another one",
            extra=blocking.fields("timeout"),
        )
        loop.retire()
        for task in awaited:
            self._pool.give_up(task, RELEASED)
        self._replace()

    def _replace(self) -> None:
        with self._lock:
            self._loop = None
        if self._queue:
            self._current_loop().call(self._feed)

    def close(self) -> None:
        """Cancel what is awaited and end the loop; waits a second at most."""
        if self._loop is not None:
            self._loop.close()

    def _current_loop(self) -> _Loop:
        with self._lock:
            if self._loop is None:
                self._loop = _Loop()
            return self._loop

    def _feed(self, loop: _Loop) -> None:
        """Begin as many tasks as there is room for; runs in the loop's thread."""
        while loop is self._loop and loop.wanted() < self._pool.size:
            try:
                task = self._queue.popleft()
            except IndexError:
                return
            self._pool.begin(task, self)
            if task.cancelled:
                self._pool.finish(task, RELEASED)
            else:
                loop.begin(task, self._run(loop, task))

    async def _run(self, loop: _Loop, task: Task) -> None:
        try:
            handler = self._pool.handler_of(task)
            pool = self._pool
            outcome = await run_async(
                task, handler, pool.beat, logs=pool.logs, transactions=pool.transactions
            )
        except BaseException as error:  # noqa: BLE001 (no task may get lost)
            outcome = call_failure(task, error)
        if loop.end(task):
            self._pool.finish(task, outcome)
            self._feed(loop)


class _Loop:
    """An event loop in a thread; it goes on when a handler stops it."""

    def __init__(self) -> None:
        self.awaited: dict[Task, asyncio.Task[None]] = {}
        self._freed: set[Task] = set()  # in the loop's thread only
        self.broken_by = "closed"
        self._ready = threading.Event()
        self._feed_called = False
        self._asked_at: float | None = None
        self._warned = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retired = False
        self._thread = threading.Thread(target=self._serve, name="pgflow-event-loop", daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def dead(self) -> bool:
        """Return True if the loop will call nothing any more."""
        return not self._thread.is_alive()

    def _serve(self) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = loop = runner.get_loop()
                self._ready.set()
                while not self._retired:
                    self._run_until_stopped(loop)
        except BaseException as error:  # noqa: BLE001 (R-5: another one takes its place)
            self.broken_by = summary(error)  # text only: a traceback would keep the loop alive
        finally:
            self._ready.set()

    def _run_until_stopped(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:  # asyncio lets them out of any task
            log.warning(
                "%s in a background task, perhaps of step %s: ignored",
                type(error).__name__,
                self._steps(),
                extra={"action": "failed"},
            )

    def _steps(self) -> str:
        steps = sorted({task.step for task in list(self.awaited)})
        return " or ".join(steps) or "that has ended"

    def call(self, feed: Callable[[_Loop], None]) -> None:
        """Call `feed` in the loop's thread, once for all calls until it runs there."""
        if not self._feed_called:
            self._feed_called = True
            self._call_soon(self._feed, feed)

    def _feed(self, feed: Callable[[_Loop], None]) -> None:
        self._feed_called = False
        feed(self)

    def begin(self, task: Task, coroutine: Coroutine[None, None, None]) -> None:
        """Await a handler; in the loop's thread."""
        self.awaited[task] = asyncio.get_running_loop().create_task(coroutine)

    def end(self, task: Task) -> bool:
        """Forget a handler that has ended; False if the loop was left before."""
        self._freed.discard(task)
        return self.awaited.pop(task, None) is not None

    def wanted(self) -> int:
        """Return the number of handlers that have a slot: they are awaited and not freed."""
        return len(self.awaited) - len(self._freed)

    def free(self, task: Task, feed: Callable[[_Loop], None]) -> None:
        """Free the slot of a handler, whether it ends or not."""
        self._call_soon(self._free, task, feed)

    def _free(self, task: Task, feed: Callable[[_Loop], None]) -> None:
        if task in self.awaited:
            self._freed.add(task)
            feed(self)

    def cancel(self, task: Task) -> None:
        """Cancel a handler if it is awaited here."""
        awaited = self.awaited.get(task)
        if awaited is not None:
            self._call_soon(awaited.cancel)

    def answers(self) -> bool:
        """Return False if the loop is late to answer the last call; else call it again."""
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at, self._warned = now, False
            self._call_soon(self._answer)
            return True
        if now - self._asked_at < _BLOCKED_SECONDS:
            return True
        if not self._warned:
            self._warned = True
            log.warning(
                "the event loop is blocked for more than %g s by step %s: use `await`, or `def`",
                _BLOCKED_SECONDS,
                self._steps(),
                extra={"action": "blocked"},
            )
        return False

    def _call_soon(self, callback: Callable[..., object], *args: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(callback, *args)

    def _answer(self) -> None:
        self._asked_at = None

    def retire(self) -> None:
        """End the loop as soon as it can; what is awaited is cancelled."""
        self._retired = True
        self._call_soon(lambda: asyncio.get_running_loop().stop())

    def close(self) -> None:
        """End the loop and wait a second at most."""
        self.retire()
        self._thread.join(1)
