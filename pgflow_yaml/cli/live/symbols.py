"""The characters and styles that screens are drawn with; a set of its own for ASCII terminals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Segment = tuple[str, str]
"""Words and their style."""
Line = list[Segment]

STYLES: Mapping[str, str] = {
    "completed": "green",
    "started": "cyan",
    "waiting": "blue",
    "repeating": "cyan",
    "retrying": "yellow",
    "created": "dim",
    "failed": "bold red",
    "caught": "yellow",
    "skipped": "dim",
    "cancelled": "magenta",
}


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
    status={
        "completed": "✓",
        "started": "⠹",
        "waiting": "⏸",
        "repeating": "↻",
        "retrying": "↻",
        "created": "○",
        "failed": "✗",
        "caught": "✗",
        "skipped": "⊘",
        "cancelled": "■",
    },
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
    status={
        "completed": "[ok]  ",
        "started": "[..]  ",
        "waiting": "[wait]",
        "repeating": "[redo]",
        "retrying": "[redo]",
        "created": "[  ]  ",
        "failed": "[fail]",
        "caught": "[fail]",
        "skipped": "[skip]",
        "cancelled": "[stop]",
    },
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
    """The room for a picture, and the moment that it shows."""

    width: int
    height: int
    now: datetime
    symbols: Symbols = UNICODE

    @property
    def dot(self) -> str:
        """The separator of two phrases on a line."""
        return f" {self.symbols.dot} "


def symbols_for(encoding: str | None) -> Symbols:
    """Choose the set that an encoding can write."""
    try:
        (UNICODE.spinner + UNICODE.last + "".join(UNICODE.status.values())).encode(
            encoding or "ascii"
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
