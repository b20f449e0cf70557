"""A worker beside the main thread, which is left free for signals and for the picture."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.background import BackgroundWorker, masked_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgflow_yaml.project.settings import Settings
    from pgflow_yaml.worker import Worker

    from .database import Database

# How long an inner worker waits for handlers of other runs once its own run has ended.
PATIENCE = 2.0
LEASE = 30.0


def worker_for(
    place: Database, settings: Settings, *, queues: Sequence[str] | None, **pace: Any
) -> Worker:
    """Make a worker for a database, as the project and the command line want it."""
    from pgflow_yaml.worker import Worker
    from pgflow_yaml.worker.worker import CONCURRENCY

    return Worker(
        place.conninfo,
        queues=queues,
        concurrency=settings.concurrency or CONCURRENCY,
        lease_seconds=settings.lease or LEASE,
        app_dir=settings.app_dir,
        allow=settings.allow,
        notify=settings.notify,
        secrets=settings.secrets,
        on_lost=place.revive,
        **pace,
    )


@contextmanager
def working(worker: Worker, note: Callable[[str], None]) -> Iterator[BackgroundWorker]:
    """Work while the block lasts; Ctrl-C lets running handlers finish, a second one does not."""
    background = BackgroundWorker(worker)
    background.start()
    try:
        with masked_streams():
            yield background
    except KeyboardInterrupt:
        worker.stop()
        note("stopping: what has begun may finish (again: at once)")
        _finish(background)
        raise
    finally:
        worker.stop()
        if not background.join(PATIENCE):
            worker.stop(now=True)
            background.join(PATIENCE)


def _finish(background: BackgroundWorker) -> None:
    try:
        while not background.join(1.0):
            continue
    except KeyboardInterrupt:
        background.worker.stop(now=True)


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
    """Work until the first SIGTERM or SIGINT has been obeyed; the second is obeyed at once (R-14).

    The handlers of both only ring bells: the worker itself runs in another thread.
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
            continue
    return background.outcome()
