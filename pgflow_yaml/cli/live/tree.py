"""The steps of a run that are rows of the live view, as a tree.

A DAG is not a tree: a step is placed below the dependency that ends last.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgflow_yaml.runs.snapshot import ENDED, StepShape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FOLD_ROWS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A visible step and its depth in the tree."""

    step: StepShape
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The visible rows, and the number of folded steps by status."""

    rows: list[Row]
    folded: Counter[str] = field(default_factory=Counter)


def picture(steps: Sequence[StepShape], *, budget: int, max_depth: int) -> Picture:
    """Return the rows of all steps, or of the most urgent ones if the budget is too small."""
    if len(steps) <= budget:
        return Picture(rows=_hang(steps, steps, max_depth))
    kept = _most_wanted(steps, max(budget - FOLD_ROWS, 0))
    visible = [step for step in steps if step["slug"] in kept]
    folded: Counter[str] = Counter(step["status"] for step in steps if step["slug"] not in kept)
    return Picture(rows=_hang(visible, steps, max_depth), folded=folded)


def connectors(depths: Sequence[int]) -> list[tuple[list[bool], bool]]:
    """Return for each row the outer levels that continue below it, and True if its own ends."""
    result: list[tuple[list[bool], bool]] = []
    open_below: list[bool] = []
    for depth in reversed(depths):
        del open_below[depth + 1 :]
        open_below.extend([False] * (depth + 1 - len(open_below)))
        result.append((open_below[1:depth], not open_below[depth]))
        open_below[depth] = True
    result.reverse()
    return result


def _most_wanted(steps: Sequence[StepShape], room: int) -> set[str]:
    failed = [step["slug"] for step in steps if step["status"] == "failed"]
    # A step that waits for a person comes before one that runs by itself.
    waiting = [step["slug"] for step in steps if step["status"] == "waiting"]
    started = [step["slug"] for step in steps if step["status"] == "started"]
    kept = (failed + waiting + started)[:room]
    left = room - len(kept)
    recent = sorted(
        (step for step in steps if step["status"] in ENDED and step["status"] != "failed"),
        key=lambda step: step["ended_at"] or "",
        reverse=True,
    )
    coming = [step["slug"] for step in _next_first(steps)][: max(left // 2, left - len(recent))]
    ended = [step["slug"] for step in recent[: left - len(coming)]]
    return {*kept, *coming, *ended}


def _next_first(steps: Sequence[StepShape]) -> list[StepShape]:
    created = [step for step in steps if step["status"] == "created"]
    return sorted(created, key=lambda step: (len(step["waiting_for"]), step["index"]))


def _hang(visible: Sequence[StepShape], steps: Iterable[StepShape], max_depth: int) -> list[Row]:
    by_slug = {step["slug"]: step for step in steps}
    shown = {step["slug"] for step in visible}
    children: dict[str | None, list[StepShape]] = {}
    for step in sorted(visible, key=lambda step: step["index"]):
        children.setdefault(_parent(step, by_slug, shown), []).append(step)
    rows: list[Row] = []
    stack = [(step, 0) for step in reversed(children.get(None, []))]
    while stack:
        step, depth = stack.pop()
        rows.append(Row(step=step, depth=min(depth, max_depth)))
        stack.extend((child, depth + 1) for child in reversed(children.get(step["slug"], [])))
    return rows


def _parent(step: StepShape, by_slug: dict[str, StepShape], shown: set[str]) -> str | None:
    for slug in _last_ending(step, by_slug):
        if slug in shown:
            return slug
    return None


def _last_ending(step: StepShape, by_slug: dict[str, StepShape]) -> Iterator[str]:
    """Yield the ancestors of a step, each time the dependency that ends last."""
    current = step
    while current["depends_on"]:
        known = [by_slug[slug] for slug in current["depends_on"] if slug in by_slug]
        if not known:
            return
        current = max(
            known,
            key=lambda dep: (
                dep["status"] not in ENDED,
                dep["ended_at"] or "",
                dep["index"],
            ),
        )
        yield current["slug"]
