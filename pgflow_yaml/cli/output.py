"""Results on stdout: JSON, tables, lines of styled words."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import click

from pgflow_yaml.text import cells, fit, moment, one_line, roughly, utc

from .streams import result_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from .options import Options

LEAST = 8  # minimum width of a flexible column

COLORS = {
    "completed": "green",
    "started": "cyan",
    "failed": "red",
    "cancelled": "magenta",
    "stopping": "magenta",
    "active": "green",
}


def write_json(value: Any) -> None:
    """Write a result as one line of ASCII JSON, which is valid in any encoding of stdout."""
    out = result_stream()
    out.write(json.dumps(value) + "\n")
    out.flush()


def escaped(text: str, encoding: str | None) -> str:
    """Return JSON with the escapes of JSON if an encoding lacks one of its characters.

    The escapes for screens are none of JSON, and `->` for an arrow would be another value.
    """
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return re.sub("[^\\x00-\\x7f]", lambda match: json.dumps(match[0])[1:-1], text)
    return text


def write_file(path: Path, text: str) -> None:
    """Write a result to a file and create its folder; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; a flexible one becomes narrower on a narrow terminal.

    Where even that is too wide, flexible columns are left out, those with the greatest `spare`
    first, and of these the last one.
    """

    title: str
    right: bool = False
    flexible: bool = False
    spare: int = 1


# A column, and the function that returns the cell of an item.
CellsOf: TypeAlias = "tuple[Column, Callable[[Any], str]]"


def write_list(
    items: Sequence[Any],
    columns: Sequence[CellsOf],
    options: Options,
) -> None:
    """Write items as a JSON array, or as a table with a row for each."""
    if options.json:
        write_json(items)
        return
    if items and "database" in items[0]:  # of several
        columns = [columns[0], (Column("DATABASE"), itemgetter("database")), *columns[1:]]
    rows = [[cell(item) for _, cell in columns] for item in items]
    write_table([column for column, _ in columns], rows, options)


def write_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], options: Options) -> None:
    """Write rows under their titles: fitted to a terminal, in full length to a pipe."""
    table = [[one_line(cell) for cell in row] for row in rows]
    if not table:
        options.note("none found")
    terminal = shutil.get_terminal_size().columns
    if sys.stdout.isatty():
        columns, table = _fitting(*_without_empty(columns, table), terminal)
    titles = [column.title for column in columns]
    widths = [max(map(cells, column)) for column in zip(titles, *table, strict=True)]
    if sys.stdout.isatty():
        _narrow(widths, columns, terminal)
    colored = options.colored(sys.stdout)
    sys.stdout.write(_row(titles, columns, widths, style={"bold": True} if colored else None))
    for row in table:
        sys.stdout.write(_row(row, columns, widths, style={} if colored else None))


def _without_empty(
    columns: Sequence[Column], table: list[list[str]]
) -> tuple[list[Column], list[list[str]]]:
    """Leave out flexible columns that are empty in every row."""
    kept = [
        number
        for number, column in enumerate(columns)
        if not column.flexible or not table or any(row[number] for row in table)
    ]
    return [columns[number] for number in kept], [[row[number] for number in kept] for row in table]


def _fitting(
    columns: Sequence[Column], table: list[list[str]], terminal: int
) -> tuple[list[Column], list[list[str]]]:
    """Leave out flexible columns until the others fit at their minimum width."""
    kept = list(range(len(columns)))

    def least(number: int) -> int:
        width = max(cells(text) for text in (columns[number].title, *(r[number] for r in table)))
        return min(width, LEAST) if columns[number].flexible else width

    while sum(least(number) + 2 for number in kept) - 2 > terminal:
        flexible = [number for number in kept if columns[number].flexible]
        if not flexible:
            break
        kept.remove(max(flexible, key=lambda number: (columns[number].spare, number)))
    return [columns[number] for number in kept], [[row[number] for number in kept] for row in table]


def _narrow(widths: list[int], columns: Sequence[Column], terminal: int) -> None:
    over = sum(widths) + 2 * (len(widths) - 1) - terminal
    for number, column in enumerate(columns):
        if column.flexible and over > 0:
            cut = min(over, max(widths[number] - LEAST, 0))
            widths[number] -= cut
            over -= cut


def _row(
    values: Sequence[str],
    columns: Sequence[Column],
    widths: Sequence[int],
    *,
    style: dict[str, Any] | None,
) -> str:
    parts = []
    for value, column, width in zip(values, columns, widths, strict=True):
        text = fit(value, width)
        space = " " * (width - cells(text))
        if style is not None:
            color = COLORS.get(value)
            text = click.style(text, fg=color, **style) if color or style else text
        parts.append(space + text if column.right else text + space)
    return "  ".join(parts).rstrip() + "\n"


def when(stamp: str | None) -> str:
    """Format a time: relative to now on a terminal, absolute elsewhere."""
    if stamp is None:
        return ""
    if not sys.stdout.isatty():
        return utc(stamp)
    seconds = (datetime.now(UTC) - moment(stamp)).total_seconds()
    return f"in {roughly(-seconds)}" if seconds < 0 else f"{roughly(seconds)} ago"


def for_screens(stream: IO[str]) -> IO[str]:
    """Return a stream for our own colours: the one for handlers lets none pass."""
    below: IO[str] = getattr(stream, "screen", stream)
    return below


def write_lines(
    lines: Iterable[Sequence[tuple[str, str]]], stream: IO[str], options: Options
) -> None:
    """Write lines of styled words; a style is a text such as `bold red`."""
    colored = options.colored(stream)
    for line in lines:
        words = (_styled(text, style) if colored else text for text, style in line)
        stream.write("".join(words).rstrip(" ") + "\n")
    stream.flush()


def _styled(text: str, style: str) -> str:
    if not style or not text:
        return text
    names = style.split()
    color = next((name for name in names if name not in {"bold", "dim"}), None)
    return click.style(text, fg=color, bold="bold" in names or None, dim="dim" in names or None)


def needs_line(handlers: Sequence[str]) -> str:
    """Return the line about the handlers that a worker must be allowed to call."""
    return f"needs a worker with {' '.join(f'--allow {handler}' for handler in handlers)}"


def age(stamp: str | None) -> str:
    """Format the time since a moment; in a pipe, the moment."""
    return when(stamp).removesuffix(" ago")
