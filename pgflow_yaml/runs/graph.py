"""The graph of a run: its flow with the status of each step and the progress of wide ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node, with_statuses
from pgflow_yaml.language.graph.page import Mark
from pgflow_yaml.text import duration, moment, plural

from .failures import failure_handling
from .steps import attempt, condition, is_wide, phase, seconds

if TYPE_CHECKING:
    from datetime import datetime

    from .snapshot import Snapshot, StepShape
    from .steps import Condition


def of_run(snapshot: Snapshot, flow: Drawing | None) -> Drawing:
    """Return the drawing of a run; `flow` is None for one without a definition (pgflow's own)."""
    statuses: dict[str, str] = {step["slug"]: step["status"] for step in snapshot["steps"]}
    notes = {
        step["slug"]: f"{step['tasks']['completed']:,}/{step['tasks']['total']:,}"
        for step in snapshot["steps"]
        if is_wide(step)
    }
    return with_statuses(flow or of_snapshot(snapshot), statuses, notes)


def marks(snapshot: Snapshot) -> dict[str, Mark]:
    """Return what a page shows on the box of each step: condition, words and progress."""
    now = moment(snapshot["now"])
    handling = failure_handling(snapshot)
    found = {}
    for step in snapshot["steps"]:
        known = condition(step, now, handling.get(step["slug"]))
        found[step["slug"]] = Mark(known, _words(step, known, now), _percent(step))
    return found


def _words(step: StepShape, known: Condition, now: datetime) -> str:
    """Return a few words for a box; empty where the condition and the flow say all."""
    tasks = step["tasks"]
    if is_wide(step) and step["started_at"]:
        failed = f" ✗ {tasks['failed']:,}" if tasks["failed"] else ""
        return f"{tasks['completed']:,}/{tasks['total']:,}{failed}"
    match known:
        case "completed":
            return duration(seconds(step, now) or 0)
        case "failed" | "caught" if step["attempts"]:
            return attempt(step, step["attempts"])
        case "retrying":
            return attempt(step, step["attempts"] + 1)
        case "repeating":
            return plural(step["iteration"], "call")
        case "started" if step["action"] == "handler":
            return _running(step, now)
        case _:
            return ""


def _running(step: StepShape, now: datetime) -> str:
    if phase(step, now) == "queued":
        return "queued"
    return attempt(step, step["attempts"]) if step["attempts"] > 1 else ""


def _percent(step: StepShape) -> int:
    """Return the progress of a step: of a wide one its tasks, else what its handler reports."""
    if is_wide(step):
        done = step["tasks"]["completed"] + step["tasks"]["failed"]
        return 100 * done // max(step["tasks"]["total"], 1)
    running = step["status"] == "started" and step["progress"]
    return int(100 * running["done"]) if running else 0


def of_snapshot(snapshot: Snapshot) -> Drawing:
    """Return the drawing of a run without a definition: its steps and what they depend on."""
    return Drawing(
        flow=snapshot["run"]["flow"],
        nodes=tuple(
            Node(slug=step["slug"], label=step["slug"], notes=("map",) if step["map"] else ())
            for step in snapshot["steps"]
        ),
        edges=tuple(
            Edge(source=source, target=step["slug"])
            for step in snapshot["steps"]
            for source in step["depends_on"]
        ),
    )
