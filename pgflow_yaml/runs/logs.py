"""The log of a run: the rows of the database as lines in order, each with its attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgflow_yaml.language.model import Json

LEVELS = ("debug", "info", "warning", "error", "critical")
LOGS = ("both", "database", "worker")
"""Destinations of lines of handlers: the database, the worker's own output, or both."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LogRow(TypedDict):
    """Some lines of a call in a row; each line is [epoch in milliseconds, level, logger, text]."""

    id: int
    step: str
    index: int
    map: bool
    retry: int
    attempt: int
    fence: int
    part: int
    lines: list[list[int | str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """The lines to read: all of those that are None or False match every line.

    `failed`: the last attempt of each task that failed; `since` is in seconds before now.
    """

    steps: tuple[str, ...] | None = None
    index: int | None = None
    attempt: int | None = None
    failed: bool = False
    level: str | None = None
    since: float | None = None

    @property
    def levels(self) -> list[str] | None:
        """The names of `level` and of those above it."""
        return None if self.level is None else list(LEVELS[LEVELS.index(self.level) :])


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line that a handler printed or logged; `index` is None for a step that is no map.

    `retry` is the retry of the run in which it was said, 0 before the first; the numbers of
    attempts begin anew with each. `logger` is the name of a logger, or "stdout" or "stderr" for
    what was printed.
    """

    at: datetime
    step: str
    index: int | None
    retry: int
    attempt: int
    level: str
    logger: str
    text: str

    @property
    def label(self) -> str:
        """The step, with the index of the item of a map: `fetch[3]`."""
        return self.step if self.index is None else f"{self.step}[{self.index}]"

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `logs` prints."""
        return {
            "at": self.at.isoformat(timespec="milliseconds"),
            "step": self.step,
            "index": self.index,
            "retry": self.retry,
            "attempt": self.attempt,
            "level": self.level,
            "logger": self.logger,
            "text": self.text,
        }


def in_order(rows: Iterable[LogRow]) -> list[LogLine]:
    """Return the lines of rows by time; those of one call keep their order.

    A row whose transaction was repeated after a lost reply is there twice, and counts once.
    """
    calls: dict[tuple[str, int, int, int], LogRow] = {}
    for row in rows:
        calls.setdefault((row["step"], row["index"], row["fence"], row["part"]), row)
    lines = [
        (int(line[0]), _line(row, line))
        for _, row in sorted(calls.items(), key=lambda entry: entry[0])
        for line in row["lines"]
    ]
    return [line for _, line in sorted(lines, key=lambda entry: entry[0])]


def _line(row: LogRow, line: list[int | str]) -> LogLine:
    milliseconds, level, logger, text = line
    return LogLine(
        at=_EPOCH + timedelta(milliseconds=int(milliseconds)),
        step=row["step"],
        index=row["index"] if row["map"] else None,
        retry=row["retry"],
        attempt=row["attempt"],
        level=str(level),
        logger=str(logger),
        text=str(text),
    )
