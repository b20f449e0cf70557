"""Convert offsets in a text to lines and columns, and offsets in a YAML value to those in its text.

The value of a scalar differs from its text by quotes, escapes, folding and indentation.
`scalar_offsets` walks both, so that a caret marks the exact character in every style.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate

from pgflow_yaml.errors import Span

_LINE_BREAK = re.compile(r"\r\n|\n|\r")
_FOLD = re.compile(r"[ \t]*(?:(?:\r\n|\n|\r)[ \t]*)+")
_ESCAPE = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)


class Lines:
    """Lines of a text, to convert code point indexes to spans."""

    def __init__(self, text: str) -> None:
        """Index the start of each line."""
        self.text = text
        if text.count("\r") == text.count("\r\n"):
            sizes = (len(line) + 1 for line in text.split("\n"))
            self.starts = [0, *accumulate(sizes)][:-1]
        else:
            self.starts = [0, *(match.end() for match in _LINE_BREAK.finditer(text))]

    def position(self, index: int) -> tuple[int, int]:
        """Return the line and column, counted from 1, of the code point at `index`."""
        line = bisect_right(self.starts, index)
        return line, index - self.starts[line - 1] + 1

    def span(self, start: int, end: int) -> Span:
        """Return the span from `start` up to, not including, `end`."""
        line, column = self.position(start)
        end_line, end_column = self.position(max(start, end))
        return Span(line=line, column=column, end_line=end_line, end_column=end_column)

    def line(self, number: int) -> str:
        """Return line `number` without its line break."""
        start = self.starts[number - 1]
        end = self.starts[number] if number < len(self.starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")


def scalar_offsets(raw: str, value: str, style: str) -> list[int] | None:
    """Return the offset in `raw` of each code point of `value` and of its end.

    None means that the two do not match.

    `style` is "" for a plain scalar, else the character that introduces it.
    """
    if style in ("|", ">"):
        return _block_offsets(raw, value)
    offsets = _flow_offsets(raw, style)
    return offsets if len(offsets) == len(value) + 1 else None


def width_at(raw: str, at: int, style: str) -> int:
    """Return the number of characters in `raw`, from `at` on, that write one of the value."""
    if style == '"' and raw[at : at + 1] == "\\":
        escape = _ESCAPE.match(raw, at)
        return escape.end() - at if escape else 1
    return 2 if style == "'" and raw.startswith("''", at) else 1


def _flow_offsets(raw: str, quote: str) -> list[int]:
    at = len(quote)
    end = len(raw) - len(quote)
    offsets: list[int] = []
    while at < end:
        fold = _FOLD.match(raw, at, end)
        if fold is not None:
            breaks = len(_LINE_BREAK.findall(fold.group()))
            offsets.extend([at] * max(1, breaks - 1))
            at = fold.end()
        elif quote == "'" and raw.startswith("''", at):
            offsets.append(at)
            at += 2
        elif quote == '"' and raw[at] == "\\":
            at = _escape(raw, at, offsets)
        else:
            offsets.append(at)
            at += 1
    offsets.append(end)
    return offsets


def _escape(raw: str, at: int, offsets: list[int]) -> int:
    fold = _FOLD.match(raw, at + 1)
    if fold is not None and raw[at + 1] in "\r\n":
        # An escaped line break gives nothing itself; blank lines after it give one break each.
        offsets.extend([at] * (len(_LINE_BREAK.findall(fold.group())) - 1))
        return fold.end()
    offsets.append(at)
    escape = _ESCAPE.match(raw, at)
    return escape.end() if escape else at + 1


def _block_offsets(raw: str, value: str) -> list[int] | None:
    header = _LINE_BREAK.search(raw)
    if header is None:
        return None
    offsets: list[int] = []
    at = header.end()
    last = at
    for line in _LINE_BREAK.split(raw[at:]):
        if line.strip():
            content = _line_in_value(line, value, len(offsets))
            if content is None:
                return None
            value_start, line_start = content
            offsets.extend([last] * (value_start - len(offsets)))
            offsets.extend(range(at + line_start, at + len(line)))
            last = at + len(line)
        at += len(line)
        ending = _LINE_BREAK.match(raw, at)
        at += len(ending.group()) if ending else 0
    offsets.extend([last] * (len(value) + 1 - len(offsets)))
    return offsets if len(offsets) == len(value) + 1 else None


def _line_in_value(line: str, value: str, at: int) -> tuple[int, int] | None:
    """Return where the content of a block line begins, in `value` from `at` and in the line.

    None means that the line is not in the value.
    """
    while True:
        indent = len(line) - len(line.lstrip(" "))
        for skip in range(indent + 1):
            if value.startswith(line[skip:], at):
                return at, skip
        if at >= len(value) or value[at] not in " \n":
            return None
        at += 1
