"""Render a diagnostic as a frame: its position, the line, a caret under the exact range, the fix.

The frame is plain text; the command line adds colours.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.text import TAB, cells, fit, safe

if TYPE_CHECKING:
    from pgflow_yaml.errors import Diagnostic, Span

_CONTEXT_LINES = 3
_LINE_NUMBER = re.compile(r"\bline ([0-9]{1,7})\b")
_LINE_BREAK = re.compile(r"\r\n|\n|\r")


def render(diagnostic: Diagnostic, *, file: str, source: str, width: int = 100) -> str:
    """Return the frame; source lines are cut to `width` cells."""
    span = diagnostic.span
    head = f"{diagnostic.severity}[{diagnostic.code}]: {safe(diagnostic.message)}"
    if span is None:
        lines = [f"{safe(file)}: {head}"]
        indent = "   "
    else:
        lines = [f"{safe(file)}:{span.line}:{span.column}: {head}"]
        indent = " " * (len(str(span.line)) + 1)
        lines += _picture(diagnostic, span, source=source, width=width)
    if diagnostic.help:
        if span is not None:
            lines.append(f"{indent}│")
        lines.append(f"{indent}= help: {safe(diagnostic.help)}")
    return "\n".join(lines)


def _picture(diagnostic: Diagnostic, span: Span, *, source: str, width: int) -> list[str]:
    texts = _LINE_BREAK.split(source)
    if not 1 <= span.line <= len(texts):
        return []
    gutter = len(str(span.line))
    blank = " " * gutter + " │"
    room = max(20, width - gutter - 3)
    raw = texts[span.line - 1]
    end = span.end_column if span.end_line == span.line else len(raw) + 1
    before = _shown(raw[: span.column - 1])
    marked = _shown(raw[span.column - 1 : end - 1])
    after = _shown(raw[max(end, span.column) - 1 :])
    before, marked, after = _cut(before, marked, after, room)
    lines = [blank]
    lines += [
        f"{number:>{gutter}} │ {fit(_shown(texts[number - 1]), room)}".rstrip()
        for number in _context(texts, span.line, diagnostic.help or "")
    ]
    lines.append(f"{span.line:>{gutter}} │ {before}{marked}{after}".rstrip())
    caret = " " * cells(before) + "^" * max(1, cells(marked))
    label = f" {safe(diagnostic.label)}" if diagnostic.label else ""
    lines.append(f"{blank} {caret}{label}")
    return lines


def _context(texts: list[str], line: int, fix: str) -> range:
    """Return the numbers of the lines above the marked one that the frame shows.

    These are the line that the marked line is indented under, and those back to a line that the
    fix mentions.
    """
    above = texts[line - 2] if line > 1 else ""
    first = line - 1 if above.strip() and _indent(above) < _indent(texts[line - 1]) else line
    mentioned = _LINE_NUMBER.search(fix)
    if mentioned is not None and line - _CONTEXT_LINES <= int(mentioned.group(1)) < first:
        first = int(mentioned.group(1))
    return range(first, line)


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def _shown(text: str) -> str:
    return safe(text.replace("\t", TAB))


def _cut(before: str, marked: str, after: str, room: int) -> tuple[str, str, str]:
    """Return the three parts of a line cut to `room` cells, with `…` where text is missing."""
    if cells(before + marked + after) <= room:
        return before, marked, after
    marked = fit(marked, room - 2)
    left = room - cells(marked)
    keep_after = min(cells(after), max(left // 3, left - cells(before)))
    keep_before = left - keep_after
    if cells(before) > keep_before:
        before = "…" + fit(before[::-1], keep_before - 1, "")[::-1]
    return before, marked, fit(after, keep_after)
