"""The graph of a run: its flow with the status of each step and the progress of wide ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node, with_statuses

from .steps import is_wide

if TYPE_CHECKING:
    from .snapshot import Snapshot


def of_run(snapshot: Snapshot, flow: Drawing | None) -> Drawing:
    """Return the drawing of a run; `flow` is None for one without a definition (pgflow's own)."""
    statuses: dict[str, str] = {step["slug"]: step["status"] for step in snapshot["steps"]}
    notes = {
        step["slug"]: f"{step['tasks']['completed']:,}/{step['tasks']['total']:,}"
        for step in snapshot["steps"]
        if is_wide(step)
    }
    return with_statuses(flow or _of_snapshot(snapshot), statuses, notes)


def _of_snapshot(snapshot: Snapshot) -> Drawing:
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
