"""The executor that runs each handler in a process of its own, one call at a time.

Ours, not `ProcessPoolExecutor`: there one dead process fails the calls of all others, and a call
cannot be stopped. Here each slot is a thread of the worker with one child: the thread evaluates the
arguments, sends the call, and passes on what the child says.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pgflow_yaml.worker.attempt import call_failure
from pgflow_yaml.worker.calls import summary
from pgflow_yaml.worker.executors.children import ChildProcess, ChildSettings
from pgflow_yaml.worker.executors.frames import PipeClosed
from pgflow_yaml.worker.executors.remote import RemoteCall
from pgflow_yaml.worker.executors.waiting import WaitingTasks
from pgflow_yaml.worker.task import RELEASED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.worker.calls import Handler
    from pgflow_yaml.worker.executors.pool import Pool
    from pgflow_yaml.worker.task import Task

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # between children that do not start
_CLOSE_SECONDS = 1.0


class Processes(WaitingTasks):
    """Up to as many children as the pool has slots, started when they are needed and kept."""

    def __init__(self, pool: Pool, settings: ChildSettings | None = None) -> None:
        super().__init__(pool)
        self._settings = settings or ChildSettings()
        self._lock = threading.Condition()
        self._slots = self._idle = self._starting = 0
        self._children: set[ChildProcess] = set()
        self._calls: dict[Task, RemoteCall] = {}
        self._unstopped: set[RemoteCall] = set()
        self._closed = False
        self._failed_starts, self._start_at = 0, -math.inf
        pool.handlers.imports = False  # what a module does when it is imported, it does in a child

    def takes(self, handler: Handler) -> bool:  # noqa: ARG002 (any)
        """Return True: handlers of both kinds run in a child."""
        return True

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks, wake idle slots, and begin children ahead of need."""
        self._queue.extend(tasks)
        self._wake()

    def cancel(self, task: Task) -> None:
        """Set `ctx.cancelled` in the child, or cancel its coroutine."""
        call = self._calls.get(task)
        if call is not None and not call.stop():
            self._unstopped.add(call)

    def free(self, task: Task) -> None:
        """End the child of a task, and let another one take its slot."""
        call = self._calls.get(task)
        if call is not None:
            call.child.terminate()
        self._pool.stopped(task)
        with self._lock:
            self._slots -= 1
        self._wake()

    def check(self) -> None:
        """Kill children that were told to end two seconds ago; begin those that are missing."""
        for call in list(self._unstopped):
            if call.stop():
                self._unstopped.discard(call)
        for child in self._children.copy():
            child.kill_if_late()
        if self._queue:
            self._wake()

    def close(self) -> None:
        """End all children; waits a second at most for those that clean up."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            for call in list(self._calls.values()):
                call.child.terminate()
            self._lock.wait_for(lambda: not self._children, _CLOSE_SECONDS)
        for child in self._children.copy():
            child.kill()

    # The slots

    def _wake(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._lock.notify(min(len(self._queue), self._idle))
            if time.monotonic() < self._start_at:
                return
            ready = self._idle + self._starting
            missing = min(len(self._queue) - ready, self._pool.size - self._slots)
            if self._failed_starts:  # one tries for all
                missing = min(missing, 1 - self._starting)
            for _ in range(missing):
                try:
                    threading.Thread(target=self._serve, name="pgflow-slot", daemon=True).start()
                except RuntimeError as error:  # the system has no more: `check` tries again
                    self._put_off(f"the system has no more threads: {error}")
                    return
                self._slots += 1
                self._starting += 1

    def _serve(self) -> None:
        """Run tasks in one child after the other, until the slot is freed or the pool closed."""
        while (child := self._start()) is not None:
            is_left = self._work(child)
            self._forget(child)
            if is_left:
                return
            with self._lock:
                self._starting += 1
        with self._lock:
            self._slots -= 1

    def _start(self) -> ChildProcess | None:
        """Return a child that is ready; None if none starts, or the pool is closed."""
        problem, child = "", None
        try:
            child = ChildProcess(self._settings, self._pool.handlers.as_json())
            with self._lock:
                self._children.add(child)
            child.open()
        except PipeClosed:
            assert child is not None
            problem = f"it ended with status {child.bury()}"
            self._forget(child)
            child = None
        except Exception as error:  # noqa: BLE001 (no slot may be lost)
            problem = summary(error)
        with self._lock:
            self._starting -= 1
            if child is None and not self._closed:
                self._put_off(problem)
            elif child is not None:
                self._failed_starts, self._start_at = 0, -math.inf
        return child

    def _put_off(self, problem: str) -> None:
        pause = min(_FIRST_PAUSE * 2**self._failed_starts, _LONGEST_PAUSE)
        self._failed_starts += 1
        self._start_at = time.monotonic() + pause
        log.error(
            "no process for handlers could be started: %s; the next try is in %g s",
            problem,
            pause,
            extra={"action": "blocked"},
        )

    def _forget(self, child: ChildProcess) -> None:
        with self._lock:
            self._children.discard(child)
            self._lock.notify_all()

    def _work(self, child: ChildProcess) -> bool:
        """Run tasks until the child has ended; True if the slot has gone, False for a new child."""
        most = self._settings.tasks or math.inf
        while child.calls < most and (task := self._next()) is not None:
            if not child.is_alive():  # while it was idle
                self._queue.appendleft(task)
                child.bury()
                return False
            child.calls += 1
            has_slot = self._run(task, child)
            if not has_slot or child.has_ended:
                child.bury()
                return not has_slot
        child.end()
        if not self._closed:
            return False
        with self._lock:
            self._slots -= 1
        return True

    def _next(self) -> Task | None:
        """Return the next task; wait for it, and return None when the pool is closed."""
        with self._lock:
            while not self._closed:
                with suppress(IndexError):
                    return self._queue.popleft()
                self._idle += 1
                self._lock.wait()
                self._idle -= 1
            return None

    def _run(self, task: Task, child: ChildProcess) -> bool:
        """Run one task; False if the slot of this thread was taken meanwhile."""
        pool = self._pool
        if task.cancelled:
            pool.hand_in(task, RELEASED)
            return True
        call = self._calls[task] = RemoteCall(task, child, pool)
        pool.begin(task, self)
        try:
            outcome = call.run()
        except BaseException as error:  # noqa: BLE001 (no task may get lost with its thread)
            outcome = call_failure(task, error)
        has_slot = pool.finish(task, outcome)
        del self._calls[task]
        self._unstopped.discard(call)
        return has_slot
