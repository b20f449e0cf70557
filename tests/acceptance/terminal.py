"""A terminal that breaks and joins its lines when its width changes, as most terminals do."""

from __future__ import annotations

import re

TOKEN = re.compile(r"\x1b\[(?P<arguments>[0-9;?]*)(?P<command>[A-Za-z])|(?P<text>.)", re.DOTALL)


class Terminal:
    """Rows of text and a cursor; it knows what a picture is drawn with."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._rows = [""]
        self._goes_on = [False]  # whether the next row belongs to the same line
        self._row = self._column = 0

    @property
    def rows(self) -> list[str]:
        """The rows, without spaces at their ends."""
        return [row.rstrip() for row in self._rows]

    def write(self, text: str) -> None:
        """Obey and draw a text."""
        for token in TOKEN.finditer(text):
            match token["command"] or token["text"]:
                case "A":
                    self._row = max(self._row - int(token["arguments"] or 1), 0)
                case "K":
                    self._rows[self._row], self._goes_on[self._row] = "", False
                case "\r":
                    self._column = 0
                case "\n":
                    self._down()
                case character if token["text"]:
                    self._draw(character)

    def resize(self, width: int) -> None:
        """Make it as wide as that."""
        lines, cursor = [""], (0, 0)
        for number, (row, goes_on) in enumerate(zip(self._rows, self._goes_on, strict=True)):
            if number == self._row:
                cursor = len(lines) - 1, len(lines[-1]) + self._column
            lines[-1] += row
            if not goes_on:
                lines.append("")
        self.width, self._rows, self._goes_on = width, [], []
        for number, line in enumerate(lines[:-1]):
            parts = [line[at : at + width] for at in range(0, len(line), width)] or [""]
            if number == cursor[0]:
                part = min(cursor[1] // width, len(parts) - 1)
                self._row, self._column = len(self._rows) + part, cursor[1] - part * width
            self._rows += parts
            self._goes_on += [True] * (len(parts) - 1) + [False]

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append("")
            self._goes_on.append(False)

    def _draw(self, character: str) -> None:
        if self._column == self.width:
            self._goes_on[self._row] = True
            self._down()
            self._column = 0
        row = self._rows[self._row].ljust(self._column)
        self._rows[self._row] = row[: self._column] + character + row[self._column + 1 :]
        self._column += 1
