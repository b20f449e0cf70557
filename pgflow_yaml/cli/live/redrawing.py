"""A picture that is redrawn in place, also on a terminal whose width changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from pgflow_yaml.text import cells

if TYPE_CHECKING:
    from rich.console import ConsoleRenderable

# Set by terminals that cut the lines of a narrower window; the others break them into more rows.
CUTTING_TERMINALS = frozenset({"XTERM_VERSION", "STY"})


class Redrawn(Live):
    """A live text that erases the whole of its last frame, also on a terminal made narrower.

    Rich erases as many rows as it wrote; such a terminal has wrapped them into more.
    """

    _widths: tuple[int, ...] = ()  # of the lines on the screen

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what Rich writes, after a control that erases the additional rows."""
        width = self.console.width
        extra = rows(self._widths, width) - len(self._widths) if breaks_lines() else 0
        text = self.get_renderable()
        lines = text.plain.split("\n")[: self.console.height] if isinstance(text, Text) else []
        self._widths = tuple(min(cells(line), width) for line in lines)
        erase = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)) * extra
        return [Control(*erase), *super().process_renderables(renderables)]


def rows(widths: tuple[int, ...], width: int) -> int:
    """Return the rows that lines of these widths take on a terminal that breaks them."""
    return sum(max(-(-cells // width), 1) for cells in widths)


def breaks_lines() -> bool:
    """Return true unless the terminal cuts lines; tmux hides the terminal around it."""
    return "TMUX" in os.environ or not CUTTING_TERMINALS & os.environ.keys()
