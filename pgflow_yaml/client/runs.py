"""A run and its steps, as the database describes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.snapshot import (
        RunStatus,
        Snapshot,
        StepShape,
        StepStatus,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """The state of one step of a run."""

    slug: str
    action: Literal["handler", "flow", "wait"]
    status: StepStatus
    skip_reason: str | None
    waiting_for: tuple[str, ...]
    attempts: int
    crashes: int
    iteration: int
    waits: Mapping[str, Json] | None
    children: tuple[str, ...]
    started_at: datetime | None
    ended_at: datetime | None
    output: Json
    error: Mapping[str, Json] | None
    tasks: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run at the moment when it was read."""

    id: str
    flow: str
    version: str | None
    status: RunStatus
    key: str | None
    labels: Mapping[str, str]
    parent: Mapping[str, Json] | None
    input: Json
    output: Json
    error: Mapping[str, Json] | None
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    steps: tuple[StepState, ...]

    @property
    def ended(self) -> bool:
        """True if the run has ended for good."""
        return self.status in ("completed", "failed", "cancelled")


def run_of(snapshot: Snapshot) -> Run:
    """Return the run of a snapshot."""
    row = snapshot["run"]
    return Run(
        id=row["id"],
        flow=row["flow"],
        version=row["version"],
        status=row["status"],
        key=row["key"],
        labels=MappingProxyType(row["labels"]),
        parent=_frozen(row["parent"]),
        input=row["input"],
        output=row["output"],
        error=_frozen(row["error"]),
        created_at=_moment(row["created_at"]),
        started_at=_moment(row["started_at"]),
        ended_at=_moment(row["ended_at"]),
        steps=tuple(_step_of(step) for step in snapshot["steps"]),
    )


def _step_of(row: StepShape) -> StepState:
    return StepState(
        slug=row["slug"],
        action=row["action"],
        status=row["status"],
        skip_reason=row["skip_reason"],
        waiting_for=tuple(row["waiting_for"]),
        attempts=row["attempts"],
        crashes=row["crashes"],
        iteration=row["iteration"],
        waits=_frozen(row["waits"]),
        children=tuple(row["children"]),
        started_at=_moment(row["started_at"]),
        ended_at=_moment(row["ended_at"]),
        output=row["output"],
        error=_frozen(row["error"]),
        tasks=MappingProxyType(cast("dict[str, int]", row["tasks"])),
    )


def _frozen(value: Mapping[str, object] | None) -> Mapping[str, Json] | None:
    return None if value is None else MappingProxyType(cast("dict[str, Json]", value))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
