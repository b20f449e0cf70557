"""From a place in a text to line and column, and from a place in a YAML scalar to one in the text.

A scalar's value is not its text: quotes, escapes, folding and indentation lie between.
`scalar_places` walks both, so that a caret lands on the exact character whatever the style.
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
    """The lines of a text, for turning code point indexes into spans."""

    def __init__(self, text: str) -> None:
        """Note where each line starts."""
        self.text = text
        if text.count("\r") == text.count("\r\n"):
            sizes = (len(line) + 1 for line in text.split("\n"))
            self.starts = [0, *accumulate(sizes)][:-1]
        else:
            self.starts = [0, *(found.end() for found in _LINE_BREAK.finditer(text))]

    def position(self, index: int) -> tuple[int, int]:
        """Return the line and column, from 1, of the code point at `index`."""
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


def scalar_places(raw: str, value: str, style: str) -> list[int] | None:
    """Return for each code point of `value`, and its end, the offset in `raw`; None: no match.

    `style` is "" for a plain scalar, else the character that introduces it.
    """
    if style in ("|", ">"):
        return _block_places(raw, value)
    places = _flow_places(raw, style)
    return places if len(places) == len(value) + 1 else None


def width_at(raw: str, at: int, style: str) -> int:
    """Return how many characters of `raw` write the one character of the value that is at `at`."""
    if style == '"' and raw[at : at + 1] == "\\":
        found = _ESCAPE.match(raw, at)
        return found.end() - at if found else 1
    return 2 if style == "'" and raw.startswith("''", at) else 1


def _flow_places(raw: str, quote: str) -> list[int]:
    at = len(quote)
    end = len(raw) - len(quote)
    places: list[int] = []
    while at < end:
        fold = _FOLD.match(raw, at, end)
        if fold is not None:
            breaks = len(_LINE_BREAK.findall(fold.group()))
            places.extend([at] * max(1, breaks - 1))
            at = fold.end()
        elif quote == "'" and raw.startswith("''", at):
            places.append(at)
            at += 2
        elif quote == '"' and raw[at] == "\\":
            at = _escape(raw, at, places)
        else:
            places.append(at)
            at += 1
    places.append(end)
    return places


def _escape(raw: str, at: int, places: list[int]) -> int:
    fold = _FOLD.match(raw, at + 1)
    if fold is not None and raw[at + 1] in "\r\n":
        # An escaped line break gives nothing itself; blank lines after it give one break each.
        places.extend([at] * (len(_LINE_BREAK.findall(fold.group())) - 1))
        return fold.end()
    places.append(at)
    found = _ESCAPE.match(raw, at)
    return found.end() if found else at + 1


def _block_places(raw: str, value: str) -> list[int] | None:
    header = _LINE_BREAK.search(raw)
    if header is None:
        return None
    places: list[int] = []
    at = header.end()
    last = at
    for line in _LINE_BREAK.split(raw[at:]):
        if line.strip():
            found = _line_in_value(line, value, len(places))
            if found is None:
                return None
            places.extend([last] * (found[0] - len(places)))
            places.extend(range(at + found[1], at + len(line)))
            last = at + len(line)
        at += len(line)
        ending = _LINE_BREAK.match(raw, at)
        at += len(ending.group()) if ending else 0
    places.extend([last] * (len(value) + 1 - len(places)))
    return places if len(places) == len(value) + 1 else None


def _line_in_value(line: str, value: str, at: int) -> tuple[int, int] | None:
    """Find where the content of a block line begins: in `value` from `at`, and in the line."""
    while True:
        indent = len(line) - len(line.lstrip(" "))
        for skip in range(indent + 1):
            if value.startswith(line[skip:], at):
                return at, skip
        if at >= len(value) or value[at] not in " \n":
            return None
        at += 1
