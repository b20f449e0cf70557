"""The standard streams of a command, be they closed, on a full disk, or without a reader.

A closed stream is as good as /dev/null. What cannot be written to stderr is lost, and changes no
exit code. What cannot be written to stdout is noted, and reported when the work is done; only a
reader that is gone ends the command at once.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import threading
from typing import Final, TextIO

STDIN, STDOUT, STDERR = range(3)
# Characters of our sentences that an encoding such as ASCII does not have; screens with pictures
# have a second set of characters (`live.symbols`).
_PLAIN: Final = {"→": "->", "…": "...", "·": "-", "│": "|", "§": "section ", "≤": "<=", "≥": ">="}
_state: Final[dict[str, io.TextIOWrapper]] = {}
_faults: Final[list[OSError]] = []


class _Results(io.FileIO):
    """Stdout: a write that fails is noted, so that the work goes on."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write the bytes, or note why they cannot be written."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EPIPE:
                _faults.append(error)
            elif threading.current_thread() is threading.main_thread():
                raise
            # Else a handler would fail because nobody reads what it prints.
            return len(data)


class _Notes(io.FileIO):
    """Stderr: what cannot be written is dropped."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write the bytes, or drop them."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _in_plain_characters(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace a character that the encoding lacks: by a plain one, else by a backslash escape."""
    if isinstance(error, UnicodeEncodeError):
        plain = _PLAIN.get(error.object[error.start])
        if plain is not None:
            return plain, error.start + 1
        error.end = error.start + 1
    return codecs.backslashreplace_errors(error)


codecs.register_error("pgflow-yaml", _in_plain_characters)


def take_over() -> None:
    """Replace the streams of this process, before it opens a file or a socket."""
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            # This is the lowest free number. Processes started from here have it open as well.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(STDIN, encoding="utf-8", closefd=False)
    sys.stdout = _state["results"] = _text(_Results(STDOUT, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Notes(STDERR, "w", closefd=False), sys.stderr, by_line=True)


def _text(raw: io.FileIO, like: object, *, by_line: bool = False) -> io.TextIOWrapper:
    """Return a text stream with the encoding of another one, which is None if it was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="pgflow-yaml",
        line_buffering=by_line or raw.isatty(),
        write_through=getattr(like, "write_through", False),
    )


def result_stream() -> TextIO:
    """Return the stream for the result of the command."""
    return _state.get("results", sys.stdout)


def keep_stdout_for_results() -> TextIO:
    """Send all prints to stderr until this process ends, whatever handlers write to stdout.

    Handlers may print while they are imported, in threads of theirs, when the process exits, from
    C code and in processes that they start: file descriptor 1 is stderr from now on.
    """
    kept = _state.get("results")
    if kept is not None and kept is sys.stdout:
        kept.flush()
        raw = _Results(os.dup(STDOUT), "w")
        os.dup2(STDERR, STDOUT)
        _state["results"] = _text(raw, kept)
        sys.stdout = _text(_Notes(STDOUT, "w", closefd=False), kept, by_line=True)
    return result_stream()


def fault() -> OSError | None:
    """Return the first reason why stdout could not be written, None if it was."""
    return _faults[0] if _faults else None


def abandon_results() -> None:
    """Redirect stdout, which nobody reads: the interpreter flushes it when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), result_stream().fileno())
