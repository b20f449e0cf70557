"""How the live view draws: symbols with colour and shape, and a set for ASCII terminals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

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
class Look:
    """One set of drawing characters; symbols of a set are equally wide."""

    symbols: Mapping[str, str]
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


UNICODE = Look(
    symbols={
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

ASCII = Look(
    symbols={
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
    look: Look = UNICODE


def look_for(encoding: str | None) -> Look:
    """Choose the set that an encoding can write."""
    try:
        (UNICODE.spinner + UNICODE.last + "".join(UNICODE.symbols.values())).encode(
            encoding or "ascii"
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
