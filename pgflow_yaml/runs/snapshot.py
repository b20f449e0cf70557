"""The snapshot of a run, as SQL returns it and screens read it; its keys are those of `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json

RunStatus = Literal["started", "completed", "failed", "cancelled"]
StepStatus = Literal["created", "started", "waiting", "completed", "failed", "skipped", "cancelled"]

ENDED: frozenset[str] = frozenset({"completed", "failed", "skipped", "cancelled"})

STATUS_PHRASES: Mapping[str, str] = {
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


class ParentShape(TypedDict):
    """The step of another run that started this run."""

    id: str
    step: str
    index: int


class RunShape(TypedDict):
    """The run of a snapshot; its outcome is known before its `finally` steps have ended."""

    id: str
    flow: str
    version: str | None
    status: RunStatus
    input: Json
    output: Json
    error: ErrorShape | None
    key: str | None
    labels: dict[str, str]
    outcome: str | None
    parent: ParentShape | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    pruned_at: str | None
    retries: NotRequired[int]
    why: NotRequired[Mapping[str, Any] | None]
    """Why it has not begun (`why.py`)."""


class TasksShape(TypedDict):
    """The tasks of a step by status."""

    total: int
    queued: int
    started: int
    completed: int
    failed: int
    cancelled: int


class WaitsShape(TypedDict):
    """The wait of a step: for an event, a timer or its child runs."""

    kind: Literal["event", "timer", "child"]
    event: str | None
    until: str | None
    form: NotRequired[Mapping[str, Json]]
    """The schema of each field that a decision fills in."""
    by: NotRequired[list[str]]
    """The people and groups who may decide."""


class AwaitedShape(TypedDict):
    """An event that a run waits for, or a decision: then it has `form`, `by` or both."""

    run_id: str
    flow: str
    step: str
    event: str
    until: str | None
    form: NotRequired[Mapping[str, Json]]
    by: NotRequired[list[str]]


class AnswerShape(TypedDict):
    """The end of a wait for an event: by a decision, or by the event."""

    kind: Literal["decision", "event"]
    approved: bool | None
    by: str
    at: str
    comment: str | None
    data: NotRequired[Json]
    """The answer to the form of the step."""


class CountsShape(TypedDict):
    """The number of steps of a run, of its completed steps, and of those that are done."""

    total: int
    completed: int
    done: int


class ChildShape(TypedDict):
    """A child run of a step."""

    id: str
    flow: str
    version: str | None
    index: int
    status: RunStatus
    outcome: str | None
    error: ErrorShape | None
    steps: CountsShape


class PercentShape(TypedDict):
    """A share of items."""

    percent: float


class RepeatShape(TypedDict):
    """The rhythm of a repeated step: `every` in milliseconds, `max` calls."""

    every: int
    max: int | None


# `finally` is a keyword of Python, which the class syntax does not accept.
_Finally = TypedDict("_Finally", {"finally": bool})


class ProgressShape(TypedDict):
    """A report of progress: `done` is from 0 to 1; `index` names the item of a map."""

    index: int
    done: float
    text: str
    at: str


class _StepRequired(_Finally):
    handles: bool
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
    edges: dict[str, str]
    action: Literal["handler", "flow", "wait"]
    handler: str | None
    flow: str | None
    waits: WaitsShape | None
    answer: AnswerShape | None
    iteration: int
    repeat: RepeatShape | None
    queue: str | None
    max_parallel: int | None
    tolerate: int | PercentShape | None
    children: list[str]
    child: ChildShape | None
    awaited: list[AwaitedShape]
    progress: ProgressShape | None
    refused_at: str | None
    map: bool
    max_attempts: int
    when_exhausted: str
    retry_at: str | None


class StepShape(_StepRequired, total=False):
    """One step of a snapshot; the keys here are present only on request.

    `arguments` are those of the only task of a step; `item` is one task of a step with many, null
    if it is not made yet. `log` has the last lines of a step that fails, each with the time in
    milliseconds since the epoch, the level, the logger and the text.
    """

    items: list[str | None]
    arguments: Json
    arguments_error: str
    item: TaskShape | None
    log: list[tuple[int, str, str, str]]


class FailedAttempt(TypedDict):
    """One failed attempt of one task."""

    id: int
    step: str
    index: int
    attempt: int
    type: str
    message: str
    trace: str | None
    began_at: str | None
    at: str
    final: bool
    retry_at: str | None
    past: NotRequired[bool]
    """True for an attempt before the step was retried."""


class _TaskRequired(TypedDict):
    index: int
    status: str
    attempts: int
    crashes: int
    queued_at: NotRequired[str]
    started_at: str | None
    ended_at: str | None
    due_at: NotRequired[str | None]
    worker: NotRequired[str | None]
    output: Json
    progress: ProgressShape | None
    children: list[str]
    errors: list[FailedAttempt]


class TaskShape(_TaskRequired, total=False):
    """One task of a step; `arguments`, or why they have no value, once it has been called.

    `item` is the element of a map. `due_at` is when a queued task may be claimed; `worker` is the
    one of the last attempt.
    """

    item: Json
    arguments: Json
    arguments_error: str


class _SnapshotRequired(TypedDict):
    """Everything about one run, and the number of living workers, at one moment."""

    now: str
    run: RunShape
    workers: int
    steps: list[StepShape]
    errors: list[FailedAttempt]


class Snapshot(_SnapshotRequired, total=False):
    """A snapshot; commands that show a run add how long its flow usually takes, if known."""

    usual_seconds: float | None
