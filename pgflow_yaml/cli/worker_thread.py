"""A worker beside the main thread, which is left free for signals and for the picture."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from pgflow_yaml.errors import Unavailable
from pgflow_yaml.worker.calls import masks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

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
    from pgflow_yaml.worker.loop import CONCURRENCY

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


class Beside:
    """Runs a worker in a thread and keeps what became of it."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.exit_code: int | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the end of the worker; tell whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what ended the worker; it must not end before it is told to."""
        if self._error is not None:
            raise self._error
        if not self._thread.is_alive():
            raise Unavailable(f"the worker in this command has given up: {self.worker.gave_up}")

    def outcome(self) -> int:
        """Return the worker's exit code, or raise what ended it."""
        if self._error is not None:
            raise self._error
        return self.exit_code or 0

    def _run(self) -> None:
        try:
            self.exit_code = self.worker.run()
        except BaseException as error:  # noqa: BLE001 (raised again in the main thread)
            self._error = error


class _Masked:
    """A stream on which handlers may print: without the secrets that they were given (S-11)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it, masked."""
        self._stream.write(masks.text(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write them, masked."""
        self._stream.writelines(map(masks.text, lines))

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self._stream, name)


@contextmanager
def masked_streams() -> Iterator[None]:
    """Mask what this process writes to stdout and stderr while the block lasts."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", _Masked(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def working(worker: Worker, note: Callable[[str], None]) -> Iterator[Beside]:
    """Work while the block lasts; Ctrl-C lets running handlers finish, a second one does not."""
    beside = Beside(worker)
    beside.start()
    try:
        with masked_streams():
            yield beside
    except KeyboardInterrupt:
        worker.stop()
        note("stopping: what has begun may finish (again: at once)")
        _finish(beside)
        raise
    finally:
        worker.stop()
        if not beside.join(PATIENCE):
            worker.stop(now=True)
            beside.join(PATIENCE)


def _finish(beside: Beside) -> None:
    try:
        while not beside.join(1.0):
            continue
    except KeyboardInterrupt:
        beside.worker.stop(now=True)


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
    beside = Beside(worker)
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
        beside.start()
        while not beside.join(1.0):
            continue
    return beside.outcome()
