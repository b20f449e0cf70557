"""Two runs side by side: input, version, durations, outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pgflow_yaml.text import moment

from .run import began_at, run_seconds
from .steps import by_slug, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .snapshot import RunShape, Snapshot, StepShape

Same = Literal["same", "different", "unknown"]


class SideShape(TypedDict):
    """One of the two runs."""

    id: str
    flow: str
    version: str | None
    status: str
    started_at: str
    seconds: float


class StepsShape(TypedDict):
    """A step of both runs: its statuses and seconds, None where a run does not have it.

    `outputs` compares them if both are completed.
    """

    step: str
    statuses: tuple[str | None, str | None]
    seconds: tuple[float | None, float | None]
    outputs: Same


class Compared(TypedDict):
    """Two runs: what is the same, and what is not; `changes` are those of the input by path."""

    runs: tuple[SideShape, SideShape]
    same_version: bool
    same_input: bool
    same_output: bool
    changes: list[tuple[str, Any, Any]]
    steps: list[StepsShape]


MISSING = object()
"""Stands for a value that one side does not have."""
_MOST_CHANGES = 100


def compared(one: Snapshot, other: Snapshot) -> Compared:
    """Return two runs side by side, the steps in the order of the first."""
    a, b = one["run"], other["run"]
    ours, theirs = by_slug(one["steps"]), by_slug(other["steps"])
    nows = moment(one["now"]), moment(other["now"])
    return {
        "runs": (_side(a, one), _side(b, other)),
        "same_version": a["version"] == b["version"] and a["flow"] == b["flow"],
        "same_input": a["input"] == b["input"],
        "same_output": a["output"] == b["output"],
        "changes": changes(a["input"], b["input"])[:_MOST_CHANGES],
        "steps": [
            {
                "step": slug,
                "statuses": (_status(ours, slug), _status(theirs, slug)),
                "seconds": (
                    seconds(ours[slug], nows[0]) if slug in ours else None,
                    seconds(theirs[slug], nows[1]) if slug in theirs else None,
                ),
                "outputs": _outputs(ours.get(slug), theirs.get(slug)),
            }
            for slug in [*ours, *(slug for slug in theirs if slug not in ours)]
        ],
    }


def changes(one: Any, other: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Return the paths at which two JSON values differ, with both values there."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        return [
            change
            for key in keys
            for change in changes(
                one.get(key, MISSING), other.get(key, MISSING), f"{path}.{key}" if path else key
            )
        ]
    # 1 and True are equal in Python, but not in JSON.
    same = one is other or (type(one) is type(other) and one == other)
    return [] if same else [(path, one, other)]


def _side(run: RunShape, snapshot: Snapshot) -> SideShape:
    return {
        "id": run["id"],
        "flow": run["flow"],
        "version": run["version"],
        "status": run["status"],
        "started_at": began_at(run),
        "seconds": run_seconds(run, moment(snapshot["now"])),
    }


def _status(every: Mapping[str, StepShape], slug: str) -> str | None:
    return every[slug]["status"] if slug in every else None


def _outputs(one: StepShape | None, other: StepShape | None) -> Same:
    if one is None or other is None or {one["status"], other["status"]} != {"completed"}:
        return "unknown"
    return "same" if one["output"] == other["output"] else "different"
