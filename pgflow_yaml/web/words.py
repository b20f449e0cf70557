"""A symbol, a word and a colour for each status: never a colour alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Mark(NamedTuple):
    """Look of a status; `style` is a class of the style sheet, and the name of its colour."""

    symbol: str
    word: str
    style: str


MARKS: Mapping[str, Mark] = {
    "completed": Mark("✓", "completed", "completed"),
    "started": Mark("▸", "running", "started"),
    "running": Mark("▸", "running", "started"),
    "stopping": Mark("■", "stopping", "cancelled"),
    "repeating": Mark("↻", "repeating", "started"),
    "retrying": Mark("↻", "retrying", "waiting"),
    "waiting": Mark("‖", "waiting", "waiting"),
    "created": Mark("○", "not started", "skipped"),
    "queued": Mark("…", "queued", "skipped"),
    "failed": Mark("✗", "failed", "failed"),
    "caught": Mark("✗", "failed, handled", "waiting"),
    "skipped": Mark("⊘", "skipped", "skipped"),
    "cancelled": Mark("■", "cancelled", "cancelled"),
    # Of a worker, of a check.
    "alive": Mark("✓", "alive", "completed"),
    "silent": Mark("!", "silent", "waiting"),
    "stopped": Mark("■", "stopped", "skipped"),
    "ok": Mark("✓", "ok", "completed"),
    "warning": Mark("!", "warning", "waiting"),
    "problem": Mark("✗", "problem", "failed"),
    "unmade": Mark("?", "not checked", "failed"),
}
"""By the status of a run or the condition of a step (`runs/steps.py`)."""
