"""The facts of a run as a whole, be it the run of a snapshot or one of its child runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.text import elapsed, error_text, moment, one_line

from .snapshot import ENDED
from .steps import left_child

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .snapshot import ChildShape, ErrorShape, RunShape, Snapshot, StepShape


NO_WORKER = "no worker is alive"


def run_name(run: RunShape | ChildShape) -> str:
    """Return the name of a run: its flow and the beginning of its id, as in `order 3f2a91c0`."""
    return f"{one_line(run['flow'])} {run['id'][:8]}"


def run_status(run: RunShape | ChildShape, *, stopping: bool = False) -> str:
    """Return the status of a run for people; its outcome is known before its end.

    `stopping`: the run has an outcome, but steps other than those of `finally` still run.
    """
    if run["status"] != "started":
        return run["status"]
    if run.get("why"):
        return "waiting"
    if not run["outcome"]:
        return "running"
    return f"{run['outcome']}, {'stopping' if stopping else 'finally runs'}"


def is_stopping(snapshot: Snapshot) -> bool:
    """Return true for a run with an outcome that waits for steps or child runs before `finally`."""
    return bool(snapshot["run"]["outcome"]) and any(
        step["status"] not in ENDED or left_child(step)
        for step in snapshot["steps"]
        if not step["finally"]
    )


def is_left_alone(snapshot: Snapshot) -> bool:
    """Return true for a run that cannot go on, since no worker is alive."""
    return snapshot["run"]["status"] == "started" and not snapshot["workers"]


def is_done(step: StepShape, run: RunShape) -> bool:
    """Return true for a step that nothing more is to be done about; SQL counts the same ones."""
    goes_on = (run["outcome"] or run["status"]) in {"started", "completed"}
    return step["status"] in {"completed", "skipped"} or (step["status"] == "failed" and goes_on)


def began_at(run: RunShape) -> str:
    """Return the start time of a run, or its creation time if it has not started."""
    return run["started_at"] or run["created_at"]


def run_seconds(run: RunShape, now: datetime) -> float:
    """Return the duration of a run in seconds, until now if it has not ended."""
    return elapsed(began_at(run), moment(run["ended_at"]) if run["ended_at"] else now)


def run_error(status: str, error: ErrorShape | Mapping[str, object] | None) -> str:
    """Format the error of a run; empty if it only repeats the status."""
    if error and error.get("message") == status:
        return ""
    return error_text(error)
