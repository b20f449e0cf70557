"""A retry in words: what runs again, and what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.text import one_line

from .failures import failure_handling
from .steps import is_wide

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .snapshot import RunShape, Snapshot

MOST_NAMES = 8


def names(slugs: Iterable[str]) -> str:
    """Format the names of steps, eight at most: `a, b`."""
    every = [one_line(slug) for slug in slugs]
    more = [f"{len(every) - MOST_NAMES} more"] if len(every) > MOST_NAMES else []
    return ", ".join([*every[:MOST_NAMES], *more])


def kept_words(kept: Sequence[str], items: Mapping[str, tuple[int, int]]) -> str:
    """Format what a retry keeps: `reserve, quote, 214 of 320 items of fetch`; may be empty."""
    some = [
        f"{done:,} of {total:,} items of {one_line(slug)}" for slug, (done, total) in items.items()
    ]
    return ", ".join([*filter(None, [names(kept)]), *some])


def retry_command(run: RunShape) -> str | None:
    """Return the command that retries a run, or its parent; None for one that nothing retries."""
    if run["status"] not in ("failed", "cancelled") or run["version"] is None:
        return None
    parent = run["parent"]
    return f"pgflow-yaml retry {(parent['id'] if parent else run['id'])[:8]}"


def kept_by_retry(snapshot: Snapshot) -> str:
    """Format what a retry of a run that has ended would keep, as far as its snapshot tells."""
    handling = failure_handling(snapshot)
    chosen = {
        step["slug"]
        for step in snapshot["steps"]
        if not step["finally"]
        and (
            step["status"] == "cancelled"
            or (step["status"] == "failed" and handling[step["slug"]].kind != "handled")
        )
    }
    again, new = set[str](), chosen
    while new:
        again |= new
        new = {
            step["slug"] for step in snapshot["steps"] if not new.isdisjoint(step["depends_on"])
        } - again
    kept = [
        step["slug"]
        for step in snapshot["steps"]
        if step["status"] == "completed" and not step["finally"] and step["slug"] not in again
    ]
    items = {
        step["slug"]: (step["tasks"]["completed"], step["tasks"]["total"])
        for step in snapshot["steps"]
        if step["slug"] in chosen
        and is_wide(step)
        and step["tasks"]["completed"]
        and again.isdisjoint(step["depends_on"])
    }
    return kept_words(kept, items)
