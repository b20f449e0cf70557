"""The differences between two versions of a flow, as lines."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from pgflow_yaml.text import cells, one_line, plural, wrapped

from .output import write_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.language.differences import Change
    from pgflow_yaml.project.versions import Comparison, Side

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
    if not comparison.changes:
        sentence = f"no difference: {comparison.after.name} is {_same_version(comparison.before)}"
        write_lines(
            ([(line, "")] for line in wrapped(one_line(sentence), width)), sys.stdout, options
        )
        return
    changes = plural(len(comparison.changes), "change")
    sides = f"from {_named(comparison.before)} to {_named(comparison.after)}"
    head = one_line(f"{comparison.flow}: {changes} {sides}")
    lines = [[(line, "bold")] for line in wrapped(head, width)]
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


def _named(side: Side) -> str:
    known = side.version is None or side.version in side.name
    return side.name if known else f"{side.name} ({side.version})"


def _same_version(side: Side) -> str:
    return f"the same version as {side.name}, {side.version}"
