"""Factories for snapshots of runs, with defaults for everything a test does not care about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pgflow_yaml.runs.snapshot import (
        FailedAttempt,
        RunShape,
        Snapshot,
        StepShape,
        TasksShape,
    )

NOW = "2026-11-24T12:00:10+00:00"
START = "2026-11-24T12:00:00+00:00"


def some_tasks(**counts: int) -> TasksShape:
    """Task counts; the total is their sum unless it is given."""
    names = ("queued", "started", "completed", "failed", "cancelled")
    tasks = {name: counts.get(name, 0) for name in names}
    return cast("TasksShape", {"total": counts.get("total", sum(tasks.values())), **tasks})


def a_step(slug: str, status: str = "completed", **fields: Any) -> StepShape:
    """One step; times and task counts follow from its status."""
    begun = status in {"started", "waiting", "completed", "failed"}
    ended = status not in {"created", "started", "waiting"}
    counts = {status: 1} if status in {"started", "completed", "failed"} else {}
    step = {
        "slug": slug,
        "index": 0,
        "status": status,
        "skip_reason": "condition_unmet" if status == "skipped" else None,
        "waiting_for": [],
        "attempts": int(begun),
        "crashes": 0,
        "started_at": START if begun else None,
        "ended_at": "2026-11-24T12:00:04+00:00" if ended else None,
        "output": None,
        "error": {"type": "Boom", "message": "it broke"} if status == "failed" else None,
        "tasks": some_tasks(**counts),
        "depends_on": [],
        "edges": dict.fromkeys(fields.get("depends_on", []), "success"),
        "action": "handler",
        "handler": "app.work",
        "flow": None,
        "finally": False,
        "handles": True,
        "waits": None,
        "answer": None,
        "iteration": 0,
        "repeat": None,
        "queue": "order",
        "max_parallel": None,
        "tolerate": None,
        "children": [],
        "child": None,
        "awaited": [],
        "progress": None,
        "refused_at": None,
        "map": False,
        "max_attempts": 3,
        "when_exhausted": "fail",
        "retry_at": None,
    }
    return cast("StepShape", {**step, **fields})


def a_run(status: str = "started", **fields: Any) -> RunShape:
    """One run of the flow `order`."""
    run: dict[str, Any] = {
        "id": "3f2a91c0-0000-4000-8000-000000000000",
        "flow": "order",
        "version": "8c41e07b52d1",
        "status": status,
        "input": {},
        "output": None,
        "error": None,
        "key": None,
        "labels": {},
        "outcome": None if status == "started" else status,
        "parent": None,
        "created_at": START,
        "started_at": START,
        "ended_at": None if status == "started" else NOW,
    }
    return cast("RunShape", {**run, **fields})


def a_snapshot(*steps: StepShape, run: RunShape | None = None, **fields: Any) -> Snapshot:
    """A snapshot with these steps in this order."""
    numbered = [{**step, "index": number} for number, step in enumerate(steps)]
    snapshot = {"now": NOW, "run": run or a_run(), "workers": 1, "steps": numbered, "errors": []}
    return cast("Snapshot", {**snapshot, **fields})


def a_failure(step: str, **fields: Any) -> FailedAttempt:
    """One failed attempt, three seconds ago."""
    failure = {
        "id": 1,
        "step": step,
        "index": 0,
        "attempt": 1,
        "type": "CardTimeout",
        "message": "acquirer b did not answer in 30 s",
        "trace": None,
        "at": "2026-11-24T12:00:07+00:00",
        "final": False,
        "retry_at": None,
    }
    return cast("FailedAttempt", {**failure, **fields})
