"""The characters and styles of screens, with a second set of characters for ASCII terminals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Segment = tuple[str, str]
"""Words and their style."""
Line = list[Segment]

# The condition of a step: its style, and its symbol in each set.
_STATUSES = {
    "completed": ("green", "✓", "[ok]  "),
    "started": ("cyan", "⠹", "[..]  "),
    "waiting": ("blue", "⏸", "[wait]"),
    "repeating": ("cyan", "↻", "[redo]"),
    "retrying": ("yellow", "↻", "[redo]"),
    "created": ("dim", "○", "[  ]  "),
    "failed": ("bold red", "✗", "[fail]"),
    "caught": ("yellow", "✗", "[fail]"),
    "skipped": ("dim", "⊘", "[skip]"),
    "cancelled": ("magenta", "■", "[stop]"),
}
STYLES: Mapping[str, str] = {status: style for status, (style, _, _) in _STATUSES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbols:
    """One set of drawing characters; those for a status are equally wide."""

    status: Mapping[str, str]
    spinner: str
    ellipsis: str
    dot: str
    rule: str
    branch: str
    last: str
    pipe: str
    gap: str
    note: str
    bar: str
    bar_rest: str
    map_bar: str
    map_rest: str


UNICODE = Symbols(
    status={status: symbol for status, (_, symbol, _) in _STATUSES.items()},
    spinner="⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏",
    ellipsis="…",
    dot="·",
    rule="│",
    branch="├─ ",
    last="╰─ ",
    pipe="│  ",
    gap="   ",
    note="┆ ",
    bar="━",
    bar_rest="─",
    map_bar="█",
    map_rest="░",
)

ASCII = Symbols(
    status={status: symbol for status, (_, _, symbol) in _STATUSES.items()},
    spinner="",
    ellipsis="...",
    dot="-",
    rule="|",
    branch="|- ",
    last="`- ",
    pipe="|  ",
    gap="   ",
    note=": ",
    bar="=",
    bar_rest="-",
    map_bar="#",
    map_rest=".",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The size of a picture, and the moment that it shows."""

    width: int
    height: int
    now: datetime
    symbols: Symbols = UNICODE

    @property
    def dot(self) -> str:
        """The separator of two phrases on a line."""
        return f" {self.symbols.dot} "


def symbols_for(encoding: str | None) -> Symbols:
    """Return the set that an encoding can represent."""
    try:
        (UNICODE.spinner + UNICODE.last + "".join(UNICODE.status.values())).encode(
            encoding or "ascii"
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
