"""The one event loop on which `async def` handlers run, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING

from pgflow_yaml.worker.execution import run_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.calls import Handler
    from pgflow_yaml.worker.tasks import Outcome, Task


class Coroutines:
    """Starts at its first task; at most `limit` handlers are awaited at once."""

    def __init__(
        self,
        limit: int,
        running: dict[Task, bool],
        *,
        finish: Callable[[Task, Outcome], bool],
        beat: Callable[[], None],
    ) -> None:
        """`running` is the pool's list of running tasks, `finish` takes results."""
        self._limit = limit
        self._running = running
        self._finish = finish
        self._beat = beat
        self._waiting: deque[tuple[Task, Handler]] = deque()
        self._awaited: dict[Task, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._called = False
        self._end: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def submit(self, task: Task, handler: Handler) -> None:
        """Await a handler as soon as there is room."""
        self._waiting.append((task, handler))
        loop = self._started()
        if not self._called:  # else it will look at the queue anyway
            self._called = True
            loop.call_soon_threadsafe(self._feed)

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
        awaited = self._awaited.get(task)
        if awaited is None or self._loop is None:
            return False
        self._loop.call_soon_threadsafe(awaited.cancel)
        return True

    def close(self) -> None:
        """Cancel what is awaited and end the loop; waits a second at most."""
        if self._loop is None or self._end is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(1)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                ready = threading.Event()
                self._thread = threading.Thread(
                    target=lambda: asyncio.run(self._main(ready)),
                    name="pgflow-coroutines",
                    daemon=True,
                )
                self._thread.start()
                ready.wait()
            assert self._loop is not None
            return self._loop

    async def _main(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        ready.set()
        await self._end.wait()

    def _feed(self) -> None:
        self._called = False
        while len(self._awaited) < self._limit:
            try:
                task, handler = self._waiting.popleft()
            except IndexError:
                return
            task.begin()
            self._running[task] = True
            self._awaited[task] = asyncio.get_running_loop().create_task(self._run(task, handler))

    async def _run(self, task: Task, handler: Handler) -> None:
        try:
            self._finish(task, await run_async(task, handler, self._beat))
        finally:
            del self._awaited[task]
            self._feed()
