"""The threads that run handlers.

A task is handed over without a lock: `deque.popleft` takes it, and one `dict.pop` of the running
tasks decides who speaks for it, the thread that ran its handler or who gave it up before.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from pgflow_yaml.worker.attempt import run
from pgflow_yaml.worker.calls import HandlerUnavailable, error_record
from pgflow_yaml.worker.executors.event_loop import Coroutines
from pgflow_yaml.worker.task import ON_THREAD, RELEASED, Outcome, timed_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgflow_yaml.worker.calls import Handler, Handlers
    from pgflow_yaml.worker.task import Task

log = logging.getLogger(__name__)

# Below this a handler is done before another thread has woken up to help.
_TINY_SECONDS = 0.0005


class Pool:
    """Runs tasks on `size` threads and one event loop; results come back in lists."""

    def __init__(self, size: int, handlers: Handlers, *, beat: Callable[[], None]) -> None:
        self.size = size
        self.running: dict[Task, int] = {}
        self.abandoned = 0
        self._handlers = handlers
        self.beat = beat
        self._queue: deque[Task] = deque()
        self._results: deque[Task] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._wanted = 0  # ring when so many results are there; 0: nobody waits
        self._lock = threading.Condition()
        self._threads = self._idle = 0
        self._closed = False
        self._seen = self._finished = 0
        self._coroutines = Coroutines(self)

    # Used by the worker's own thread

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks and wake whom they need."""
        self._queue.extend(tasks)
        self._wake(len(tasks) if _is_slow(tasks[0]) else 1)

    def queued(self) -> int:
        """How many tasks wait for their handler to begin."""
        return len(self._queue) + self._coroutines.waiting()

    def withdraw(self, count: int) -> list[Task]:
        """Take back up to so many waiting tasks, the last ones first."""
        taken: list[Task] = []
        while len(taken) < count:
            try:
                taken.append(self._queue.pop())
            except IndexError:
                return taken + self._coroutines.withdraw(count - len(taken))
        return taken

    def busy_seconds(self) -> float:
        """For how long every slot has been busy with the same handlers; 0 if one is free."""
        running = list(self.running)
        return time.monotonic() - running[-1].started if len(running) >= self.size else 0.0

    def release(self, count: int) -> None:
        """Give back up to so many tasks whose handler has not begun."""
        for task in self.withdraw(count):
            self._hand_in(task, RELEASED)

    def take(self) -> list[Task]:
        """The finished tasks since last time."""
        # Not a swap of lists: a thread may be about to append to the one it has looked up.
        return [self._results.popleft() for _ in range(len(self._results))]

    def wait(self, count: int, seconds: float) -> None:
        """Return when there are `count` results, or any and nothing waits, or the bell rang."""
        self._wanted = count
        if not self._ready(count):
            with suppress(Empty):
                self._bell.get(timeout=max(seconds, 0))
        self._wanted = 0
        while not self._bell.empty():
            self._bell.get()

    def has_results(self) -> bool:
        """Whether a task has finished since the last `take`."""
        return bool(self._results)

    def close(self) -> None:
        """End idle threads; those that run a handler end after it."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._coroutines.close()

    # Used by others

    def ring(self) -> None:
        """Wake the worker's own thread; safe in a signal handler."""
        self._bell.put(None)

    def finish(self, task: Task, outcome: Outcome) -> bool:
        """Hand in a result; False if the task was given up before: then nobody wants it."""
        wanted = self._let_go(task)
        if wanted:
            self._hand_in(task, outcome)
        return wanted

    def expire(self, task: Task) -> None:
        """Give up on a handler whose time is up: report it, go on with another thread (§4.3)."""
        self.give_up(
            task, timed_out(task) if task.found else timed_out(task, "its module was not imported")
        )

    def give_up(self, task: Task, outcome: Outcome) -> None:
        """Speak for a running handler before it returns; what it returns later is dropped."""
        task.cancelled = True
        place = self.running.pop(task, None)
        if place is None:
            return
        with self._lock:
            self.abandoned += 1
            if place == ON_THREAD:
                self._threads -= 1
        self._coroutines.cancel(task)
        self._hand_in(task, outcome)
        self._wake(1)

    def cancel(self, task: Task) -> None:
        """Tell a handler that its result is no longer wanted."""
        task.cancelled = True
        self._coroutines.cancel(task)

    def nudge(self) -> None:
        """Wake all threads if tasks wait although none has finished since the last nudge."""
        self._coroutines.check()
        if self._queue and self._seen == self._finished:
            self._wake(len(self._queue))
        self._seen = self._finished

    # The threads

    def _wake(self, count: int) -> None:
        with self._lock:
            woken = min(count, self._idle)
            if woken:
                self._lock.notify(woken)
            missing = min(count - woken, self.size - self._threads)
            self._threads += max(0, missing)
        for _ in range(missing):
            threading.Thread(target=self._work, name="pgflow-handler", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                task = self._queue.popleft()
            except IndexError:
                if self._sleep():
                    continue
                return
            may_help = self._idle or self._threads < self.size
            if may_help and self._queue and _is_slow(task):
                self._wake(1)
            if not self._run(task):
                return

    def _sleep(self) -> bool:
        """Wait for tasks; False when there will be none."""
        with self._lock:
            self._idle += 1
            while not self._queue and not self._closed:
                self._lock.wait()
            self._idle -= 1
            if self._closed:
                self._threads -= 1
            return not self._closed

    def _run(self, task: Task) -> bool:
        """Run one task; False if this thread was given up meanwhile."""
        if task.cancelled:
            self._hand_in(task, RELEASED)
            return True
        task.begin()  # before the handler is known: its module may hang when it is imported
        self.running[task] = ON_THREAD
        try:
            handler = self._handlers.get(task.call.handler)
            task.found = True
            if handler.is_async:
                return self._pass_on(task, handler)
            outcome = run(task, handler, self.beat)
        except HandlerUnavailable as error:  # released, and refused from now on
            task.refused = error.reason
            outcome = RELEASED
        except BaseException as error:  # the last resort: no task may get lost with its thread
            log.exception("a call went wrong in the worker itself", extra=task.fields("failed"))
            outcome = Outcome("failed", error=error_record(error))
        return self.finish(task, outcome)

    def _pass_on(self, task: Task, handler: Handler) -> bool:
        """Leave a coroutine to the event loop; False if this thread was given up meanwhile."""
        wanted = self._let_go(task)
        if wanted:
            self._coroutines.submit(task, handler)
        return wanted

    def _let_go(self, task: Task) -> bool:
        """End a task's stay in its thread or loop; False if it was given up before."""
        if self.running.pop(task, None) is not None:
            return True
        with self._lock:
            self.abandoned -= 1
        return False

    def _hand_in(self, task: Task, outcome: Outcome) -> None:
        task.outcome = outcome
        if outcome.elapsed:
            task.call.observe(outcome.elapsed)
        self._finished += 1
        self._results.append(task)
        wanted = self._wanted
        if wanted and self._ready(wanted):
            self._wanted = 0
            self._bell.put(None)

    def _ready(self, count: int) -> bool:
        results = len(self._results)
        return results >= count or (results > 0 and not self._queue)


def _is_slow(task: Task) -> bool:
    seconds = task.call.seconds
    return seconds is None or seconds > _TINY_SECONDS
