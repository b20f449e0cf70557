"""Signals for a worker in a background thread: the main thread receives them."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.background import BackgroundWorker
from pgflow_yaml.worker.streams import handler_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pgflow_yaml.worker import Worker


_NUMBERS = (signal.SIGTERM, signal.SIGINT)
_before: dict[signal.Signals, Any] = {}


def _restore() -> None:
    """Handle signals as before this program; in processes that handlers fork, too."""
    for number, handler in _before.items():
        signal.signal(number, handler)
    _before.clear()


os.register_at_fork(after_in_child=_restore)


def _handle(numbers: Iterable[signal.Signals], handler: Callable[[int, Any], None]) -> None:
    for number in numbers:
        _before[number] = signal.signal(number, handler)


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

    _handle((n for n in _NUMBERS if signal.getsignal(n) is not signal.SIG_IGN), interrupt)
    try:
        yield
    finally:
        _restore()


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

    _handle(_NUMBERS, stop)
    with handler_streams():
        background.start()
        while not background.join(1.0):
            if worker.is_overdue():  # it waits for something that no one can cut
                return 1
    return background.outcome()
