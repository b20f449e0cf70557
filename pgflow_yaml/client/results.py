"""Results of a client: frozen values, each with the JSON that the command line prints."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

from pgflow_yaml.language.model import Definition

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field

    from pgflow_yaml.language.model import Json


class _Row(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Row = TypeVar("Row", bound=_Row)
_TIMES = frozenset({"at", "since", "until"})
_LISTS = frozenset(
    {"by", "steps", "order", "again", "kept", "completed_again", "handled", "queues", "last"}
)


def row_of(kind: type[Row], row: Mapping[str, Any]) -> Row:
    """Return a row of the database as a result, whose fields have the names of its keys."""
    return kind(**{field.name: _value(field.name, row[field.name]) for field in fields(kind)})


def _value(name: str, value: Any) -> Any:
    if (name in _TIMES or name.endswith("_at")) and isinstance(value, str):
        return datetime.fromisoformat(value)
    return tuple(value) if name in _LISTS and isinstance(value, list) else value


def json_of(result: _Row) -> dict[str, Json]:
    """Return a result as JSON, its times as texts."""
    values = {field.name: getattr(result, field.name) for field in fields(result)}
    return {name: _json_value(value) for name, value in values.items()}


def _json_value(value: Any) -> Json:
    if isinstance(value, datetime):
        # PostgreSQL leaves out trailing zeros of a second.
        whole, dot, fraction = value.isoformat().partition(".")
        digits, zone = fraction[:6].rstrip("0"), fraction[6:]
        return f"{whole}{dot}{digits}{zone}"
    return list(value) if isinstance(value, tuple) else cast("Json", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """Stored version of a flow; `status` is created, activated or unchanged."""

    name: str
    active: bool
    status: str
    version: str
    flow_slug: str

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `compile` and `activate` print."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Result that deploying a flow would have."""

    name: str
    version: str
    status: str
    active: bool

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `compile --dry-run` prints."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSummary:
    """Flow in the database; `version` is the active one, `runs` counts runs by status.

    Ended runs are counted among the last 10,000; `runs["more"]`: there are older ones. `runs` is
    empty if they were not to be counted.
    """

    name: str
    runs: Mapping[str, int]
    version: str | None
    versions: int
    deployed_at: datetime
    description: str | None

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `flows` prints."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSummary:
    """Version of a flow in the database; `live` is the number of runs that have not ended."""

    git: Mapping[str, Json] | None
    live: int
    runs: Mapping[str, int]
    active: bool
    version: str
    created_at: datetime
    created_by: str | None

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `versions` prints."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """Stored version of a flow with its text."""

    name: str
    order: tuple[str, ...] | None
    active: bool
    source: str | None
    version: str
    flow_slug: str
    definition: dict[str, Json]

    def as_definition(self) -> Definition:
        """Return the definition, for comparing and drawing."""
        return Definition(
            name=self.name,
            version=self.version,
            body=self.definition,
            order=self.order or (),
            description=None,
            source=self.source or "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Started run; `created` is False if its key had been used before."""

    flow: str
    run_id: str
    status: str
    created: bool
    version: str

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `start` prints."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """Result of cancelling a run; `cancelled` is False if it had ended before.

    While its clean-up goes on, `status` is "started", and `outcome` says how it will end.
    """

    run_id: str
    status: str
    outcome: str | None
    cancelled: bool

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `cancel` prints."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Numbers of deleted old things: runs by flow, with child runs; the tasks of all of them.

    `workers` were not heard from for a week, records of the `audit` are older than a year,
    `versions` have no runs and are not among the last 20 of their flow.
    """

    runs: Mapping[str, int]
    tasks: int
    workers: int
    audit: int
    versions: int

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `prune` prints."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """Retried run: the steps that run again, and those whose outputs are kept.

    `items_kept` has {"kept", "total"} of each map whose completed items are kept; `completed_again`
    names completed steps that run again; `handled` failed steps that are left alone, since others
    handled their failures. `retried` is the number of retries of the run so far.
    """

    run_id: str
    flow: str
    version: str
    status: str
    retried: int
    again: tuple[str, ...]
    kept: tuple[str, ...]
    items_kept: Mapping[str, Mapping[str, int]]
    completed_again: tuple[str, ...]
    handled: tuple[str, ...]

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `retry --detach` prints."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStep:
    """Failed step of a failed run; `step` is None if the run failed without one.

    `items` is the number of failed items of a map, `worker` the host of the last attempt.
    """

    run_id: str
    flow: str
    version: str | None
    step: str | None
    type: str | None
    message: str | None
    attempts: int | None
    items: int | None
    worker: str | None
    failed_at: datetime
    retries: int

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `failed` prints."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Result of an event; `steps` are those that it completed, each with its data as output.

    `stored`: no step waits for it yet. `already`: an earlier event has this name, nothing changed.
    """

    event: str
    steps: tuple[str, ...]
    run_id: str
    stored: bool
    already: bool

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `send` prints."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Decision about a step: `status` is the one that counts, `applied` if it is this one."""

    at: datetime
    by: str
    step: str
    run_id: str
    status: str
    applied: bool

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `approve` and `reject` print."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """Run in a list; `steps` counts its steps, total, completed, failed, done.

    `started_at` is the time of its last retry, if there was one.
    """

    id: str
    key: str | None
    flow: str
    error: Mapping[str, Json] | None
    steps: Mapping[str, int]
    labels: Mapping[str, str]
    parent: Mapping[str, Json] | None
    status: str
    outcome: str | None
    version: str | None
    ended_at: datetime | None
    pruned_at: datetime | None
    created_at: datetime
    started_at: datetime
    retries: int
    gate: str | None
    """The gate at which it waits; it has not begun."""

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `runs` prints."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSummary:
    """Queue in a list; each number is at most 10,000, and `limited` is true where one is more.

    `holder` is the task that a worker has held for longest, with that worker; `exists` is False if
    the queue was dropped by hand. `paused_at` and `paused_by` are None unless it is paused.
    """

    queue: str
    visible: int
    leased: int
    parked: int
    oldest_at: datetime | None
    workers: int
    dead_rows: int
    limited: bool
    exists: bool
    holder: Mapping[str, Json] | None
    paused_at: datetime | None
    paused_by: str | None

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `queues` prints."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSummary:
    """Worker in a list; its status is alive, silent (for a minute or more) or stopped.

    `busy` is the number of tasks that it holds; `queues` is None if it serves all of them. Workers
    of other programs have no host, pid, release and slots. `engine` is where its handlers run, None
    for the worker itself; while that is away, it claims nothing.
    """

    worker: str
    host: str | None
    pid: int | None
    release: str | None
    login: str
    status: str
    queues: tuple[str, ...] | None
    slots: int | None
    busy: int
    engine: str | None
    engine_away: bool
    heard_at: datetime
    started_at: datetime
    stopped_at: datetime | None

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `workers` prints."""
        return json_of(self)
