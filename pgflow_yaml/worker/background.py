"""A worker in a thread, which leaves the main thread free for signals and for the screen."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgflow_yaml.errors import Unavailable
from pgflow_yaml.worker.streams import handler_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgflow_yaml.worker import Worker


PATIENCE = 2.0
"""Seconds for handlers of other runs to finish once the run of a program has ended."""


class BackgroundWorker:
    """Run a worker in a thread and keep its exit code or its error."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.exit_code: int | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        # Not Thread.join: Python 3.11 takes a thread for ended when a signal interrupts its join.
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the worker to end; return False if it still runs after `seconds`."""
        return self._ended.wait(seconds)

    def check(self) -> None:
        """Raise the error that ended the worker; it must not end before it is told to."""
        if self._error is not None:
            raise self._error
        if self._ended.is_set():
            raise Unavailable(f"the worker in this process has given up: {self.worker.gave_up}")

    def outcome(self) -> int:
        """Return the worker's exit code, or raise the error that ended it."""
        if self._error is not None:
            raise self._error
        return self.exit_code or 0

    def _run(self) -> None:
        try:
            self.exit_code = self.worker.run()
        except BaseException as error:  # noqa: BLE001 (raised again in the main thread)
            self._error = error
        finally:
            self._ended.set()


@contextmanager
def working(
    worker: Worker, on_stop: Callable[[], None] = lambda: None
) -> Iterator[BackgroundWorker]:
    """Work while the block lasts, then stop; other handlers get PATIENCE to finish.

    On Ctrl-C, running handlers may finish: `on_stop` is called; a second Ctrl-C stops at once.
    """
    background = BackgroundWorker(worker)
    with handler_streams():
        try:
            background.start()
            yield background
        except KeyboardInterrupt:
            worker.stop()
            on_stop()
            _finish(background)
            raise
        finally:
            worker.stop()
            if not background.join(PATIENCE):
                worker.stop(now=True)
                background.join(PATIENCE)


def _finish(background: BackgroundWorker) -> None:
    try:
        while not background.join(1.0) and not background.worker.is_overdue():
            continue
    except KeyboardInterrupt:
        background.worker.stop(now=True)
