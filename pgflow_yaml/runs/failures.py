"""What becomes of the failure of a step: another step handles it, may still do so, or none does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .snapshot import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .snapshot import Snapshot, StepShape


@dataclass(frozen=True, slots=True)
class Fate:
    """How the failure of a step stands, and the steps that have handled it or may do so."""

    kind: Literal["handled", "open", "unhandled"]
    by: tuple[str, ...] = ()


def fates(snapshot: Snapshot) -> dict[str, Fate]:
    """Say what becomes of each failed step of a run."""
    failed = {step["slug"] for step in snapshot["steps"] if step["status"] == "failed"}
    if not failed:
        return {}
    catchers: dict[str, list[StepShape]] = {slug: [] for slug in failed}
    for step in snapshot["steps"]:
        for slug, edge in step["edges"].items():
            # `finally` steps observe; they handle nothing.
            if slug in failed and edge != "success" and not step["finally"]:
                catchers[slug].append(step)
    stopped = snapshot["run"]["outcome"] is not None
    return {slug: _fate(found, stopped=stopped) for slug, found in catchers.items()}


def _fate(catchers: Iterable[StepShape], *, stopped: bool) -> Fate:
    catchers = list(catchers)
    done = tuple(step["slug"] for step in catchers if step["status"] == "completed")
    if done:
        return Fate("handled", done)
    coming = tuple(step["slug"] for step in catchers if step["status"] not in ENDED)
    return Fate("open", coming) if coming and not stopped else Fate("unhandled")


def handled(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Name the steps whose failure was handled, each with those that did it."""
    return {slug: fate.by for slug, fate in fates(snapshot).items() if fate.kind == "handled"}
