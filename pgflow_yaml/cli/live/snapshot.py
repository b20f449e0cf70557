"""The shapes that SQL hands over and the screens read; field names are those of `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.model import Json

RunStatus = Literal["started", "completed", "failed", "cancelled"]
StepStatus = Literal["created", "started", "completed", "failed", "skipped", "cancelled"]

ENDED: frozenset[str] = frozenset({"completed", "failed", "skipped", "cancelled"})

SAID: Mapping[str, str] = {
    "started": "is running",
    "completed": "has completed",
    "failed": "has failed",
    "cancelled": "was cancelled",
}


class ErrorShape(TypedDict, total=False):
    """An error of a run or a step."""

    type: str
    message: str
    attempts: int
    step: str


class RunShape(TypedDict):
    """The run of a snapshot."""

    id: str
    flow: str
    version: str
    status: RunStatus
    input: Json
    output: Json
    error: ErrorShape | None
    key: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None


class TasksShape(TypedDict):
    """How many tasks of a step stand where."""

    total: int
    queued: int
    started: int
    completed: int
    failed: int
    cancelled: int


class _StepRequired(TypedDict):
    slug: str
    index: int
    status: StepStatus
    skip_reason: str | None
    waiting_for: list[str]
    attempts: int
    crashes: int
    started_at: str | None
    ended_at: str | None
    output: Json
    error: ErrorShape | None
    tasks: TasksShape
    depends_on: list[str]
    handler: str
    map: bool
    max_attempts: int
    when_exhausted: str
    retry_at: str | None


class StepShape(_StepRequired, total=False):
    """One step of a snapshot; `items` is there only when it was asked for."""

    items: list[str | None]


class FailedAttempt(TypedDict):
    """One failed attempt of one task."""

    id: int
    step: str
    index: int
    attempt: int
    type: str
    message: str
    trace: str | None
    at: str
    final: bool
    retry_at: str | None


class Snapshot(TypedDict):
    """Everything about one run at one moment of the database's clock."""

    now: str
    run: RunShape
    steps: list[StepShape]
    errors: list[FailedAttempt]
