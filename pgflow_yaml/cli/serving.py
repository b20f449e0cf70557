"""Signals for a worker in a background thread: the main thread receives them."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.background import BackgroundWorker, masked_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgflow_yaml.worker import Worker


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C while the block lasts."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(worker: Worker, stopping: Callable[[], None]) -> int:
    """Run a worker until SIGTERM or SIGINT; a second signal stops it at once (R-14).

    The signal handlers only notify the worker, which runs in another thread.
    """
    background = BackgroundWorker(worker)
    signals = 0

    def stop(_number: int, _frame: Any) -> None:
        nonlocal signals
        signals += 1
        worker.stop(now=signals > 1)
        if signals == 1:
            stopping()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with masked_streams():
        background.start()
        while not background.join(1.0):
            if worker.is_overdue():  # it waits for something that no one can cut
                return 1
    return background.outcome()
