"""The one event loop on which `async def` handlers run, in a thread of its own.

A handler that blocks the loop blocks all others on it: that is said with the step's name, and when
its time is up, the others go on with another loop (F9).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from pgflow_yaml.worker.attempt import run_async
from pgflow_yaml.worker.calls import error_record, summary
from pgflow_yaml.worker.task import ON_LOOP, RELEASED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Handler
    from pgflow_yaml.worker.executors.threads import Pool
    from pgflow_yaml.worker.task import Task

log = logging.getLogger(__name__)

_STUCK_SECONDS = 2.0
_ENDED = "the event loop that the handler ran on has ended: another handler broke it"


class Coroutines:
    """The pool's half for `async def`: as many handlers at once as the pool has threads."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: deque[tuple[Task, Handler]] = deque()
        self._lock = threading.Lock()
        self._loop: _Loop | None = None

    def submit(self, task: Task, handler: Handler) -> None:
        """Await a handler as soon as there is room."""
        self._waiting.append((task, handler))
        self._current().call(self._feed)

    def waiting(self) -> int:
        """How many tasks have not begun."""
        return len(self._waiting)

    def withdraw(self, count: int) -> list[Task]:
        """Take back up to so many of those that have not begun."""
        taken: list[Task] = []
        while len(taken) < count:
            try:
                taken.append(self._waiting.pop()[0])
            except IndexError:
                break
        return taken

    def cancel(self, task: Task) -> bool:
        """Cancel the handler; False if it is not one of these."""
        loop = self._loop
        return loop is not None and loop.cancel(task)

    def check(self) -> None:
        """Ask the loop for a sign of life; replace a dead one, or one that a handler blocks.

        What is awaited on a dead one fails; what else is awaited on a blocked one goes back to the
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
            # Its coroutine wakes once more when it is forgotten: then all is said already.
            task, _ = loop.awaited.popitem()
            task.cancelled = True
            error: dict[str, Json] = {"type": "EventLoopEnded", "message": _ENDED}
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
        if self._waiting:
            self._current().call(self._feed)

    def close(self) -> None:
        """Cancel what is awaited and end the loop; waits a second at most."""
        if self._loop is not None:
            self._loop.close()

    def _current(self) -> _Loop:
        with self._lock:
            if self._loop is None:
                self._loop = _Loop()
            return self._loop

    def _feed(self, loop: _Loop) -> None:
        """Begin as many as there is room for; runs in the loop's thread."""
        while loop is self._loop and len(loop.awaited) < self._pool.size:
            try:
                task, handler = self._waiting.popleft()
            except IndexError:
                return
            task.begin()
            self._pool.running[task] = ON_LOOP
            if task.cancelled:
                self._pool.finish(task, RELEASED)
            else:
                loop.begin(task, self._run(loop, task, handler))

    async def _run(self, loop: _Loop, task: Task, handler: Handler) -> None:
        try:
            outcome = await run_async(task, handler, self._pool.beat)
        except BaseException as error:  # the last resort: no task may get lost
            log.exception("a call went wrong in the worker itself", extra=task.fields("failed"))
            outcome = Outcome("failed", error=error_record(error))
        if loop.awaited.pop(task, None) is not None:
            self._pool.finish(task, outcome)
            self._feed(loop)


class _Loop:
    """An event loop in a thread; a handler that stops the loop stops nothing."""

    def __init__(self) -> None:
        self.awaited: dict[Task, asyncio.Task[None]] = {}
        self.broken_by = "closed"
        self._ready = threading.Event()
        self._called = False
        self._asked_at: float | None = None
        self._warned = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retired = False
        self._thread = threading.Thread(target=self._serve, name="pgflow-coroutines", daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def dead(self) -> bool:
        """Whether the loop will call nothing any more."""
        return not self._thread.is_alive()

    def _serve(self) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = loop = runner.get_loop()
                self._ready.set()
                while not self._retired:
                    self._run_until_stopped(loop)
        except BaseException as error:  # noqa: BLE001 (R-5: another one takes its place)
            self.broken_by = summary(error)  # no more of it: a traceback would keep the loop
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
        """Have `feed` called in the loop's thread; once for any number of calls until then."""
        if not self._called:
            self._called = True
            self._tell(self._feed, feed)

    def _feed(self, feed: Callable[[_Loop], None]) -> None:
        self._called = False
        feed(self)

    def begin(self, task: Task, coroutine: Coroutine[None, None, None]) -> None:
        """Await a handler; in the loop's thread."""
        self.awaited[task] = asyncio.get_running_loop().create_task(coroutine)

    def cancel(self, task: Task) -> bool:
        """Cancel a handler; False if it is not awaited here."""
        awaited = self.awaited.get(task)
        if awaited is None:
            return False
        self._tell(awaited.cancel)
        return True

    def answers(self) -> bool:
        """Whether the loop has answered the last question in time; asks the next one."""
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at, self._warned = now, False
            self._tell(self._answer)
            return True
        if now - self._asked_at < _STUCK_SECONDS:
            return True
        if not self._warned:
            self._warned = True
            log.warning(
                "the event loop is blocked for more than %g s by step %s: use `await`, or `def`",
                _STUCK_SECONDS,
                self._steps(),
                extra={"action": "blocked"},
            )
        return False

    def _tell(self, callback: Callable[..., object], *args: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended: nobody needs to know
                self._loop.call_soon_threadsafe(callback, *args)

    def _answer(self) -> None:
        self._asked_at = None

    def retire(self) -> None:
        """End the loop as soon as it can; what is awaited is cancelled."""
        self._retired = True
        self._tell(lambda: asyncio.get_running_loop().stop())

    def close(self) -> None:
        """End the loop and wait a second at most."""
        self.retire()
        self._thread.join(1)
