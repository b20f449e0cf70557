"""The streams for prints of handlers: secrets are masked, and nothing steers what shows them.

A terminal gets no control sequence (S-18); the log of a CI service gets no command, which there is
a line of text. A line that is printed in a call begins with the name of its step.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from codecs import getincrementaldecoder
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from io import UnsupportedOperation
from typing import TYPE_CHECKING, Any, NoReturn, Self, TextIO, cast

from pgflow_yaml.text import clean
from pgflow_yaml.worker.calls import masks
from pgflow_yaml.worker.logs import AttemptLog, is_in_logging

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgflow_yaml.worker.logs import Logs
    from pgflow_yaml.worker.task import Task

# Variables that CI services set, which read commands in what their jobs print.
_SERVICES = ("GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION")
# `::error::` at the beginning of a line, `##[group]`, `##vso[` and `##teamcity[` anywhere.
_COMMAND = re.compile(r"^(\s*:)(?=:)|(##(?:vso|teamcity)?)(?=\[)")
_LONGEST = 16  # more characters than decide about a command
_LINE_END = re.compile(r"(?<=\n)|(?<=\r)(?!\n)")
_MOST_BEGUN = 64 * 1024  # characters of a line that is written before its end
_MOMENT = 0.2
_DOUBTFUL = 4  # so few characters begin a secret by chance: they are shown after a moment


class _Line:
    """The line that the streams of a process are writing: a command may come in several parts."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._begun = ""

    def write(self, stream: Any, text: str) -> None:
        """Write a text to a stream, with a space in each command."""
        with self._lock:
            for part in text.splitlines(keepends=True):
                whole = self._begun + part
                # The part before was written with its own spaces, which are the same ones.
                stream.write(_spaced(whole)[len(_spaced(self._begun)) :])
                self._begun = "" if part[-1] in "\r\n" else _end(whole)


def _spaced(line: str) -> str:
    return _COMMAND.sub(lambda found: f"{found[0]} ", line)


def _end(line: str) -> str:
    """Return as much of an unfinished line as decides about a command."""
    rest = line.lstrip()
    return rest if len(rest) <= _LONGEST else "-" + rest[-_LONGEST:]


_FIRST_PRINT = threading.Lock()


class Speaker:
    """A call of a handler: its lines are written whole, since other calls print at the same time.

    What it has begun is written when its line ends, or at the latest when the call does.
    """

    __slots__ = ("_begun", "_lock", "_log", "_logs", "_task")

    def __init__(self, task: Task, logs: Logs | None = None) -> None:
        """Without `logs`, the lines are shown and not stored."""
        self._task = task
        self._logs = logs
        self._log: AttemptLog | None = None
        # Made by the first print: most calls print nothing.
        self._begun: dict[_HandlerStream, str] | None = None
        self._lock: threading.Lock | None = None

    def write(self, stream: _HandlerStream, text: str) -> None:
        """Write the lines that end in a text, each after the name of the step."""
        with _FIRST_PRINT:  # a coroutine may print in several threads
            if self._lock is None or self._begun is None:
                self._lock, self._begun = threading.Lock(), {}
        with self._lock:
            before = self._begun.pop(stream, "")
            whole = before + text
            if "\n" in whole[:-1]:
                whole = masks.text(whole)  # a secret may have several short lines
            *lines, begun = _LINE_END.split(whole)
            if len(begun) > _MOST_BEGUN:
                # The end may begin a secret; what is before it is masked when it is written.
                end = masks.split(begun)[1]
                lines, begun = [*lines, begun.removesuffix(end) + "\n"], end
            if begun:
                self._begun[stream] = begun
            # A progress bar returns to the beginning of its line first, where nothing stands yet.
            lines = [line for line in lines if line != "\r"]
            if self._logs is None or self._logs.shows:
                lead = self._lead()
                stream.put("".join(lead + line for line in lines))
        if self._logs is not None and self._logs.stores and (before or not is_in_logging()):
            for line in lines:
                self._logs.add(self._own_log(), "info", stream.source, line.rstrip("\r\n"))

    def take_record(self, level: str, logger: str, text: str) -> bool:
        """Take a record of `logging`; return False if the worker must not show it."""
        if self._logs is None:
            return True
        if self._logs.stores:
            self._logs.add(self._own_log(), level, logger, text)
        return self._logs.shows

    def report(self, done: float, words: str) -> None:
        """Take a report of progress."""
        if self._logs is not None:
            self._logs.report(self._own_log(), done, words)

    def end(self) -> None:
        """Write what has been begun."""
        if self._begun:
            for stream in list(self._begun):
                self.write(stream, "\n")
        if self._log is not None and self._logs is not None:
            self._logs.close(self._log)

    def _own_log(self) -> AttemptLog:
        if self._log is None:
            self._log = AttemptLog(self._task)
        return self._log

    def _lead(self) -> str:
        lead = "step" if self._logs is None else self._logs.lead
        if lead == "none":
            return ""
        run = f"{self._task.run_id[:8]} " if lead == "run" else ""
        return f"{run}{self._task.label()} | "


class _Ends:
    """The ends of what threads outside of calls have written to a stream: they may begin a secret.

    Such an end waits for what its thread writes next, or for the end of the stream; a short one,
    as a prompt may have by chance, for a moment only.
    """

    def __init__(self, stream: _HandlerStream) -> None:
        self._stream = stream
        self._ends: dict[int, tuple[float, str]] = {}
        self._lock = threading.RLock()  # a signal may come while its thread writes
        self._timer: threading.Timer | None = None
        self._is_over = False

    def write(self, text: str) -> None:
        """Show what can be shown of a text after the end before it."""
        with self._lock:
            thread = threading.get_ident()
            _, begun = self._ends.pop(thread, (0.0, ""))
            shown, end = masks.split(begun + text)
            self._stream.show(shown)
            if self._is_over:
                self._stream.put(end)
            elif end:
                self._ends[thread] = (time.monotonic(), end)
                self._wait()

    def close(self) -> None:
        """Show all ends, and from now on each at once."""
        with self._lock:
            self._is_over = True
            for thread in list(self._ends):
                self._release(thread)
            if self._timer is not None:
                self._timer.cancel()

    def _wait(self) -> None:
        if self._timer is None and any(len(end) < _DOUBTFUL for _, end in self._ends.values()):
            self._timer = threading.Timer(_MOMENT, self._after_a_moment)
            self._timer.daemon = True
            self._timer.start()

    def _after_a_moment(self) -> None:
        with self._lock:
            self._timer = None
            before = time.monotonic() - _MOMENT
            for thread, (since, end) in list(self._ends.items()):
                if since <= before and len(end) < _DOUBTFUL:
                    self._release(thread)
            if not self._is_over:
                self._wait()

    def _release(self, thread: int) -> None:
        with suppress(OSError, ValueError):  # its reader has gone, or it is closed
            self._stream.put(self._ends.pop(thread)[1])
            self._stream.flush()


speaker: ContextVar[Speaker | None] = ContextVar("speaker", default=None)
"""The call that this thread, or this coroutine, belongs to."""


def take_record(level: str, logger: str, text: str) -> bool:
    """Give a record of `logging` to the call that made it; False if it must not be shown."""
    call = speaker.get()
    return call is None or call.take_record(level, logger, text)


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


class _SharedBytes(_SharedStream):
    """The bytes of a stream: they are taken for text, which is changed on its way."""

    def __init__(self, text: _HandlerStream) -> None:
        super().__init__(text)
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def write(self, data: bytes) -> int:
        """Write the bytes as text."""
        self._stream.write(self._decoder.decode(bytes(data)))
        return len(data)

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Write the lines as text."""
        self.write(b"".join(lines))


class _HandlerStream(_SharedStream):
    """A stream for the prints of handlers, which masks the secrets they were given (S-11)."""

    def __init__(self, stream: Any, line: _Line | None, source: str) -> None:
        super().__init__(stream)
        self.source = source
        self._is_terminal = stream.isatty()
        self._line = line
        self._bytes = _SharedBytes(self)
        self._ends = _Ends(self)

    @property
    def screen(self) -> Any:
        """The stream for our own screens: on a terminal they move the cursor and have colours."""
        return self._stream if self._is_terminal else self

    @property
    def buffer(self) -> _SharedStream:
        """The stream of bytes."""
        return self._bytes

    def write(self, text: str) -> int:
        """Write the text, masked, with the name of the step that prints it."""
        if (call := speaker.get()) is None:
            self._ends.write(text)
        else:
            call.write(self, text)
        return len(text)

    def put(self, text: str) -> None:
        """Write the text, masked."""
        self.show(masks.text(text))

    def show(self, shown: str) -> None:
        """Write a text that is masked already."""
        if self._is_terminal:
            # A progress bar that returns to the beginning of its line becomes several lines.
            shown = clean(re.sub(r"\r(?!\n)", "\n", shown))
        if self._line is not None:
            self._line.write(self._stream, shown)
        else:
            self._stream.write(shown)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write the lines, masked."""
        for line in lines:
            self.write(line)

    def end(self) -> None:
        """Write what has been kept back."""
        self._ends.close()

    @contextmanager
    def diverted(self, stream: Any) -> Iterator[None]:
        """Write to another stream within the block, such as one above a picture."""
        before, self._stream = self._stream, stream
        try:
            yield
        finally:
            stream.flush()
            self._stream = before


@contextmanager
def handler_streams() -> Iterator[None]:
    """Make stdout and stderr of this process streams for handlers within the block."""
    streams = sys.stdout, sys.stderr
    own = _replace_streams()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for stream in own:
            stream.end()


def mask_until_exit() -> None:
    """Mask what handlers print when their worker has ended: in threads, or as the process exits."""
    for stream in _replace_streams():
        stream.end()


def _replace_streams() -> list[_HandlerStream]:
    line = _Line() if any(os.environ.get(name) for name in _SERVICES) else None
    streams = {"stdout": sys.stdout, "stderr": sys.stderr}
    own = [_HandlerStream(stream, line, name) for name, stream in streams.items()]
    sys.stdout, sys.stderr = (cast("TextIO", stream) for stream in own)
    return own
