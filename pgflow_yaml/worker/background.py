"""A worker in a thread, which leaves the main thread free for signals and for the screen."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from io import UnsupportedOperation
from typing import TYPE_CHECKING, Any, NoReturn, Self, TextIO, cast

from pgflow_yaml.errors import Unavailable
from pgflow_yaml.worker.calls import masks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
    try:
        with masked_streams():
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


class _SharedStream:
    """A stream of this process for handlers; when one closes it, it stays open for the others."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def close(self) -> None:
        """Write out what is in the buffer."""
        self._stream.flush()

    def detach(self) -> NoReturn:
        """Refuse: the stream would be of no use to others."""
        raise UnsupportedOperation("this stream belongs to the worker")

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing."""
        self.close()

    def __getattr__(self, name: str) -> Any:
        """Leave everything else to the stream."""
        return getattr(self._stream, name)


class _MaskedStream(_SharedStream):
    """A stream for the prints of handlers, which masks the secrets they were given (S-11)."""

    @property
    def buffer(self) -> _SharedStream:
        """The stream of bytes."""
        return _SharedStream(self._stream.buffer)

    def write(self, text: str) -> int:
        """Write the text, masked."""
        self._stream.write(masks.text(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write the lines, masked."""
        self._stream.writelines(map(masks.text, lines))


@contextmanager
def masked_streams() -> Iterator[None]:
    """Mask secrets in what this process writes to stdout and stderr within the block."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", _MaskedStream(stream)) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
