"""Signals for a worker in a background thread: the main thread receives them."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.background import BackgroundWorker
from pgflow_yaml.worker.streams import handler_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgflow_yaml.worker import Worker


_NUMBERS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def interruptible(worker: Worker) -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGTERM or SIGINT; the second stops the worker at once.

    The second raises nothing: it would cut the wait for the tasks that the worker gives back. What
    is ignored, as SIGINT is in the background of a shell, stays so.
    """
    signals = 0

    def interrupt(_number: int, _frame: Any) -> None:
        nonlocal signals
        signals += 1
        worker.stop(now=signals > 1)
        if signals == 1:
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _NUMBERS}
    heard = [number for number in _NUMBERS if before[number] is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


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

    for number in _NUMBERS:
        signal.signal(number, stop)
    with handler_streams():
        background.start()
        while not background.join(1.0):
            if worker.is_overdue():  # it waits for something that no one can cut
                return 1
    return background.outcome()
