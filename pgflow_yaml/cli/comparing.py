"""The differences between two versions of a flow, as lines."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from pgflow_yaml.project.versions import headline
from pgflow_yaml.text import cells, one_line, wrapped

from .output import write_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.language.differences import Change
    from pgflow_yaml.project.versions import Comparison

    from .options import Options

_MARKS = {
    "added": ("+", "green"),
    "removed": ("-", "red"),
    "renamed": ("~", "yellow"),
    "changed": ("~", "yellow"),
}


def write(comparison: Comparison, options: Options) -> None:
    """Write the changes to stdout, one per line; a long change takes three lines."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    style = "bold" if comparison.changes else ""
    lines = [[(line, style)] for line in wrapped(one_line(headline(comparison)), width)]
    lines += [line for change in comparison.changes for line in change_lines(change, width)]
    write_lines(lines, sys.stdout, options)


def change_lines(change: Change, width: int) -> Iterator[list[tuple[str, str]]]:
    """Yield the lines of one change; on a terminal, long values are on lines of their own."""
    mark, color = _MARKS[change.kind]
    text = one_line(change.text)
    fits = not width or cells(text) + 4 <= width
    if fits or change.before is None or change.after is None:
        for number, line in enumerate(wrapped(text, width and width - 4)):
            yield [("    " if number else f"  {mark} ", color), (line, "")]
        return
    for number, line in enumerate(wrapped(one_line(change.label), width - 4)):
        yield [("    " if number else f"  {mark} ", color), (line, "")]
    for sign, value, paint in (("-", change.before, "red"), ("+", change.after, "green")):
        first, *rest = wrapped(one_line(value), width - 8)
        yield [(f"      {sign} ", paint), (first, "")]
        yield from ([(" " * 8 + line, "")] for line in rest)
