"""The threads that run handlers written as `def`, and that import the modules of all handlers."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from pgflow_yaml.worker.attempt import call_failure, run
from pgflow_yaml.worker.executors.waiting import WaitingTasks
from pgflow_yaml.worker.task import RELEASED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.worker.calls import Handler
    from pgflow_yaml.worker.executors.pool import Pool
    from pgflow_yaml.worker.task import Task

log = logging.getLogger(__name__)

# Below this a handler is done before another thread has woken up to help.
_TINY_SECONDS = 0.0005


class Threads(WaitingTasks):
    """An executor with as many threads as the pool has slots, started when they are needed.

    A thread takes a task without a lock, by `deque.popleft`. A handler that does not return keeps
    its thread: once its slot is free, another thread takes its place.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._lock = threading.Condition()
        self._threads = self._idle = 0
        self._closed = False
        self._results_checked = 0

    def takes(self, handler: Handler) -> bool:
        """Return True for handlers written as `def`."""
        return not handler.is_async

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks and wake the threads that they need."""
        self._queue.extend(tasks)
        self._wake(len(tasks) if _is_slow(tasks[0]) else 1)

    def cancel(self, task: Task) -> None:
        """Do nothing: a thread cannot be stopped, its handler reads `ctx.cancelled`."""

    def free(self, task: Task) -> None:  # noqa: ARG002 (each thread runs one task)
        """Stop counting the thread of a task, and begin another one if tasks wait."""
        with self._lock:
            self._threads -= 1
        self._wake(1)

    def check(self) -> None:
        """Wake all threads if tasks wait although none has finished since the last check."""
        results = self._pool.results.count
        if self._queue and self._results_checked == results:
            self._wake(len(self._queue))
        self._results_checked = results

    def close(self) -> None:
        """End idle threads; those that run a handler end after it."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    # The threads

    def _wake(self, count: int) -> None:
        with self._lock:
            woken = min(count, self._idle)
            if woken:
                self._lock.notify(woken)
            missing = min(count - woken, self._pool.size - self._threads)
            self._threads += max(0, missing)
        for started in range(missing):
            try:
                threading.Thread(target=self._work, name="pgflow-handler", daemon=True).start()
            except RuntimeError as error:  # the system has no more: `check` tries again
                with self._lock:
                    self._threads -= missing - started
                log.warning("a handler waits for a thread: %s", error, extra={"action": "blocked"})
                return

    def _work(self) -> None:
        while True:
            try:
                task = self._queue.popleft()
            except IndexError:
                if self._sleep():
                    continue
                return
            may_help = self._idle or self._threads < self._pool.size
            if may_help and self._queue and _is_slow(task):
                self._wake(1)
            if not self._run(task):
                return

    def _sleep(self) -> bool:
        """Wait for tasks; False when the pool is closed."""
        with self._lock:
            self._idle += 1
            while not self._queue and not self._closed:
                self._lock.wait()
            self._idle -= 1
            if self._closed:
                self._threads -= 1
            return not self._closed

    def _run(self, task: Task) -> bool:
        """Run one task; False if the slot of this thread was taken meanwhile."""
        pool = self._pool
        if task.cancelled:
            pool.hand_in(task, RELEASED)
            return True
        pool.begin(task, self)  # before the handler is known: its module may hang when imported
        try:
            handler = pool.handler_of(task)
            executor = pool.executor_for(handler)
            if executor is not self:
                return pool.pass_on(task, executor)
            outcome = run(task, handler, pool.beat, logs=pool.logs, transactions=pool.transactions)
        except BaseException as error:  # noqa: BLE001 (no task may get lost with its thread)
            outcome = call_failure(task, error)
        return pool.finish(task, outcome)


def _is_slow(task: Task) -> bool:
    seconds = task.call.seconds
    return seconds is None or seconds > _TINY_SECONDS
