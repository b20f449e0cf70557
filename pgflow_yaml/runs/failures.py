"""The failures of a run: which steps failed it, where, and whether another step handles one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgflow_yaml.text import error_text, one_line

from .snapshot import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .snapshot import FailedAttempt, Snapshot, StepShape

_FRAME = re.compile(
    r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>.+)$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class FailureHandling:
    """The state of a failure, and the steps that have handled it or may do so."""

    kind: Literal["handled", "open", "unhandled"]
    by: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The state in words: `handled by undo`, `undo may handle it`, or nothing."""
        names = ", ".join(map(one_line, self.by))
        return {
            "handled": f"handled by {names}",
            "open": f"{names} may handle it",
            "unhandled": "",
        }[self.kind]


def failure_handling(snapshot: Snapshot) -> dict[str, FailureHandling]:
    """Return the handling of each failure of a run, by the failed step."""
    handlers: dict[str, list[StepShape]] = {
        step["slug"]: [] for step in snapshot["steps"] if step["status"] == "failed"
    }
    for step in snapshot["steps"]:
        for slug, edge in step["edges"].items():
            # `finally` steps and those with `handles: false` run after it, but do not handle it.
            may = step["handles"] and not step["finally"]
            if slug in handlers and edge != "success" and may:
                handlers[slug].append(step)
    stopped = snapshot["run"]["outcome"] is not None
    return {slug: _handling(steps, stopped=stopped) for slug, steps in handlers.items()}


def _handling(handlers: Iterable[StepShape], *, stopped: bool) -> FailureHandling:
    handlers = list(handlers)
    completed = tuple(step["slug"] for step in handlers if step["status"] == "completed")
    if completed:
        return FailureHandling("handled", completed)
    coming = tuple(step["slug"] for step in handlers if step["status"] not in ENDED)
    return (
        FailureHandling("open", coming) if coming and not stopped else FailureHandling("unhandled")
    )


def handled_failures(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Return the steps that handled each handled failure of a run, by the failed step."""
    handling = failure_handling(snapshot).items()
    return {slug: failure.by for slug, failure in handling if failure.kind == "handled"}


def handled_sentence(slug: str, by: Sequence[str]) -> str:
    """Format a handled failure: `the failure of "charge" was handled by refund`."""
    return f'the failure of "{one_line(slug)}" was handled by {", ".join(map(one_line, by))}'


def failed_steps(snapshot: Snapshot) -> list[StepShape]:
    """Return the steps whose failure was not handled; the one that failed the run comes first."""
    named = (snapshot["run"]["error"] or {}).get("step")
    handling = failure_handling(snapshot)
    failed = [
        step
        for step in snapshot["steps"]
        if step["slug"] in handling and handling[step["slug"]].kind != "handled"
    ]
    return sorted(failed, key=lambda step: step["slug"] != named)


def distinct(errors: Iterable[FailedAttempt]) -> list[FailedAttempt]:
    """Return the failed attempts of a step, the latest first; of equal ones, only the latest."""
    in_order = sorted(errors, key=lambda error: error["id"])
    latest = {(error["index"], error_text(error)): error for error in in_order}
    return sorted(latest.values(), key=lambda error: error["id"], reverse=True)


def raised_at(trace: str, folder: str = "") -> tuple[str, str] | None:
    """Return where an error was raised, `shop.py:12 in pay`, and the code there, if known.

    A file below the folder is named relative to it.
    """
    frames = list(_FRAME.finditer(trace))
    if not frames:
        return None
    frame = frames[-1]
    code = trace[frame.end() :].lstrip("\n").split("\n", 1)[0].strip()
    file = frame["file"].removeprefix(folder.rstrip("/") + "/") if folder else frame["file"]
    return f"{one_line(file)}:{frame['line']} in {one_line(frame['name'])}", one_line(code)
