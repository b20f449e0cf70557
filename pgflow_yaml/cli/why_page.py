"""The page of `show --why`: what each unfinished step of a run waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.runs.snapshot import STATUS_PHRASES
from pgflow_yaml.text import one_line

from .live.symbols import STYLES, Line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.snapshot import Snapshot


def lines(snapshot: Snapshot, reasons: Mapping[str, str]) -> list[Line]:
    """Lay out the reasons of steps."""
    if not reasons:
        return [[(f" nothing waits: the run {STATUS_PHRASES[snapshot['run']['status']]}", "")]]
    statuses = {step["slug"]: step["status"] for step in snapshot["steps"]}
    width = max(map(len, reasons))
    return [
        [(f" {one_line(slug):<{width}}  ", ""), (text, STYLES[statuses[slug]])]
        for slug, text in reasons.items()
    ]
