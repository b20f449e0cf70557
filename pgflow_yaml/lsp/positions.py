"""Convert positions of the protocol to places in a text, and back.

An editor counts lines from 0 and columns in UTF-16 units, or in the encoding that it asked for;
spans count both from 1, in code points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol.types import Position, PositionEncodingKind, Range

if TYPE_CHECKING:
    from pgflow_yaml.errors import Span
    from pgflow_yaml.language.positions import Lines

_BYTES = {
    PositionEncodingKind.Utf8: ("utf-8", 1),
    PositionEncodingKind.Utf16: ("utf-16-le", 2),
    PositionEncodingKind.Utf32: ("utf-32-le", 4),
}


class Positions:
    """Positions in one text, in the encoding of the editor."""

    def __init__(self, lines: Lines, encoding: str | None = None) -> None:
        """Store the lines; without an encoding, the editor counts in UTF-16 units."""
        kind = PositionEncodingKind(encoding or PositionEncodingKind.Utf16)
        self._lines = lines
        self._codec, self._unit = _BYTES[kind]

    def offset(self, position: Position) -> int:
        """Return the index of a position; one behind the end of its line is that end."""
        if position.line >= len(self._lines.starts):
            return len(self._lines.text)
        line = self._lines.line(position.line + 1)
        units = 0
        for index, character in enumerate(line):
            if units >= position.character:
                return self._lines.starts[position.line] + index
            units += self._width(character)
        return self._lines.starts[position.line] + len(line)

    def range(self, start: int, end: int) -> Range:
        """Return the range from the index `start` up to, not including, `end`."""
        return self.of_span(self._lines.span(start, end))

    def of_span(self, span: Span | None) -> Range:
        """Return the range of a span; a finding about the whole file stands at its beginning."""
        if span is None:
            return Range(Position(0, 0), Position(0, 0))
        return Range(
            self._position(span.line, span.column), self._position(span.end_line, span.end_column)
        )

    def _position(self, line: int, column: int) -> Position:
        before = self._lines.line(line)[: column - 1]
        return Position(line - 1, self._width(before))

    def _width(self, text: str) -> int:
        return len(text.encode(self._codec, "surrogatepass")) // self._unit
