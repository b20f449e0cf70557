"""The lines of one call of a handler until they are sent, within the limits of a call."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.task import Task

Line: TypeAlias = tuple[int, str, str, str]
"""The time in milliseconds since the epoch, the level, the logger, the text."""

LINES_A_SECOND = 1000
HEAD_SIZE = 800_000
TAIL_LINES, TAIL_SIZE = 100, 200_000
_PART_SIZE = 256_000
_OVERHEAD = 48  # of a line, beside its text


@dataclass(slots=True, eq=False)
class Part:
    """Some lines of a call in a row, as one row of the database will have them."""

    log: AttemptLog
    number: int
    lines: list[Line]
    size: int
    is_given_up: bool = False

    def as_json(self) -> dict[str, Json]:
        """Return the part as `write_logs` takes it."""
        task = self.log.task
        return {
            "run": task.run_id,
            "step": task.step,
            "index": task.index,
            "attempt": task.attempt,
            "fence": task.fence,
            "part": self.number,
            "lines": [list(line) for line in self.lines],
        }


class AttemptLog:
    """The head of what a call says goes out as it comes; of the rest, the last lines at its end.

    It has no lock of its own: `Logs` uses it under theirs.
    """

    __slots__ = (
        "_head",
        "_is_full",
        "_parts",
        "_second",
        "_second_count",
        "_tail",
        "_tail_size",
        "closed",
        "left_out",
        "lines",
        "progress",
        "size",
        "task",
    )

    def __init__(self, task: Task) -> None:
        self.task = task
        self.lines: list[Line] = []
        self.size = 0  # of the lines and the tail
        self.left_out = 0
        self.progress: tuple[float, str] | None = None
        self.closed = False
        self._head = 0
        self._is_full = False
        self._tail: deque[Line] = deque()
        self._tail_size = 0
        self._parts = 0
        self._second = self._second_count = 0

    def add(self, line: Line) -> None:
        """Take a line, or count it as left out."""
        size = _size(line)
        if self._is_full or self._head + size > HEAD_SIZE:
            self._is_full = True
            self._add_to_tail(line, size)
            return
        second = line[0] // 1000
        if second != self._second:
            self._second, self._second_count = second, 0
        self._second_count += 1
        if self._second_count > LINES_A_SECOND:
            self.left_out += 1
            return
        if self.left_out:
            self._mark()
        self._head += size
        self._append(line)

    def close(self) -> None:
        """The call has ended: what has been kept of its end is to be sent."""
        if self._tail:
            if self.left_out:
                self._mark()
            self.lines += self._tail
        self._tail.clear()
        self.closed = True

    def drop(self) -> int:
        """Forget the lines that wait; return their number, which counts as left out."""
        count = len(self.lines)
        self.left_out += count
        self.lines = []
        self.size = self._tail_size if self._tail else 0
        return count

    def take(self) -> list[Part]:
        """Return the lines that are to be sent now, and forget them."""
        if self.left_out and not self._tail:
            self._mark()
        parts: list[Part] = []
        part: Part | None = None
        for line in self.lines:
            size = _size(line)
            if part is None or part.size + size > _PART_SIZE:
                part = Part(self, self._parts, [], 0)
                parts.append(part)
                self._parts += 1
            part.lines.append(line)
            part.size += size
        self.lines = []
        self.size = self._tail_size if self._tail else 0
        return parts

    def _add_to_tail(self, line: Line, size: int) -> None:
        if self.closed:
            self.left_out += 1
            return
        self._tail.append(line)
        self._tail_size += size
        self.size += size
        while len(self._tail) > TAIL_LINES or self._tail_size > TAIL_SIZE:
            first = _size(self._tail.popleft())
            self._tail_size -= first
            self.size -= first
            self.left_out += 1

    def _append(self, line: Line) -> None:
        self.lines.append(line)
        self.size += _size(line)

    def _mark(self) -> None:
        self._append(left_out_line(self.left_out))
        self.left_out = 0


def left_out_line(count: int) -> Line:
    """Return the line that stands for lines that were left out."""
    lines = "line" if count == 1 else "lines"
    return (int(time.time() * 1000), "warning", "pgflow_yaml", f"… {count:,} {lines} left out")


def _size(line: Line) -> int:
    return len(line[3]) + _OVERHEAD
