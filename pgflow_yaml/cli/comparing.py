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


def write(found: Comparison, options: Options) -> None:
    """Write the changes on stdout, one a line; long ones on three."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if not found.changes:
        said = f"no difference: {found.after.name} is {_said(found.before)}"
        write_lines(([(line, "")] for line in wrapped(one_line(said), width)), sys.stdout, options)
        return
    changes = plural(len(found.changes), "change")
    sides = f"from {_named(found.before)} to {_named(found.after)}"
    head = one_line(f"{found.flow}: {changes} {sides}")
    lines = [[(line, "bold")] for line in wrapped(head, width)]
    lines += [line for change in found.changes for line in change_lines(change, width)]
    write_lines(lines, sys.stdout, options)


def change_lines(change: Change, width: int) -> Iterator[list[tuple[str, str]]]:
    """Yield the lines of one change; a terminal gets long values below each other."""
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


def _said(side: Side) -> str:
    return f"the same version as {side.name}, {side.version}"
