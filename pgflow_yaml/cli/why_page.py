"""The page of `show --why`: what each unfinished step of a run waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.runs.snapshot import SAID
from pgflow_yaml.text import one_line

from .live.step_details import Segment
from .live.symbols import STYLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.snapshot import Snapshot


Line = list[Segment]


def lines(snapshot: Snapshot, found: Mapping[str, str]) -> list[Line]:
    """Lay out the sentences for steps."""
    if not found:
        return [[(f" nothing waits: the run {SAID[snapshot['run']['status']]}", "")]]
    statuses = {step["slug"]: step["status"] for step in snapshot["steps"]}
    width = max(map(len, found))
    return [
        [(f" {one_line(slug):<{width}}  ", ""), (text, STYLES[statuses[slug]])]
        for slug, text in found.items()
    ]
