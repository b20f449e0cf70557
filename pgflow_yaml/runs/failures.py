"""The handling of failures: another step has handled one, may still do so, or none does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgflow_yaml.text import one_line

from .snapshot import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .snapshot import Snapshot, StepShape


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
