"""A checked flow as frozen values; durations are milliseconds, None is a key that is not written.

A field has the name of its key in the file; a trailing underscore avoids a Python keyword.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

Backoff = Literal["exponential", "fixed"]
DEFAULT_EVERY = 5_000
DEFAULT_ROUNDS = 100
Edge = Literal["success", "failure", "any"]
Section = Literal["steps", "finally"]
SECTIONS: tuple[Section, ...] = ("steps", "finally")
ACTIONS = ("handler", "flow", "wait")
"""The keys for the action of a step, which has exactly one of them."""
WhenUnmet = Literal["skip", "skip-cascade", "fail"]
WhenExhausted = Literal["fail", "skip", "skip-cascade"]
WhenFull = Literal["queue", "skip", "replace"]
Overlap = Literal["skip", "queue", "replace", "allow"]
Catchup = Literal["none", "last", "all"]
Retention: TypeAlias = "Mapping[str, int | None]"
"""Milliseconds for which ended runs are kept, by status, one of RETAINED; None is for ever."""
RETAINED = ("completed", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """Compiled expression or template, with the environment paths that it reads."""

    ast: Json
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Content of a `retry` key; the compiler merges it with the defaults."""

    max_attempts: int | None = None
    base_delay: int | None = None
    max_delay: int | None = None
    backoff: Backoff | None = None
    jitter: bool | None = None
    if_: Formula | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Options for every handler step that does not set them."""

    retry: Retry | None = None
    timeout: int | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Content of a `wait` key; exactly one of `for_`, `until` and `event` is set."""

    for_: int | Formula | None = None
    until: Formula | None = None
    event: str | None = None
    timeout: int | None = None
    form: Mapping[str, Json] | None = None
    """The schema of each field that a decision fills in."""
    by: tuple[str, ...] = ()
    """The people and groups who may decide; empty: everybody."""
    remind: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Content of a `repeat` key; `max` None means no limit."""

    until: Formula
    every: int = DEFAULT_EVERY
    max: int | None = DEFAULT_ROUNDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """Content of a `concurrency` key: how many go on at once, for each value of the key."""

    limit: int
    key: Formula | None = None
    when_full: WhenFull = "queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """Content of a `rate_limit` key: how many attempts start in `per` milliseconds."""

    limit: int
    per: int
    key: Formula | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Percent:
    """Share of the items of a map."""

    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Step; exactly one of `handler`, `flow` and `wait` is set."""

    handler: str | None = None
    flow: str | Flow | None = None
    wait: Wait | None = None
    depends_on: Mapping[str, Edge] = field(default_factory=dict)
    with_: Formula | None = None
    if_: Formula | None = None
    when_unmet: WhenUnmet = "skip"
    map: Formula | None = None
    initial_tasks: int | None = None
    max_parallel: int | None = None
    fail_fast: bool = True
    tolerate: int | Percent = 0
    retry: Retry | None = None
    timeout: int | None = None
    repeat: Repeat | None = None
    queue: str | None = None
    start_delay: int = 0
    when_exhausted: WhenExhausted = "fail"
    handles: bool = True
    concurrency: Concurrency | None = None
    rate_limit: RateLimit | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    """Amounts by name, memory in bytes."""
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """Content of an `after` key: names of flows, in which `*` stands for any letters, and ends."""

    flows: tuple[str, ...]
    status: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One item of a `schedule` key; it has either `cron` and `timezone`, or `every`."""

    name: str
    """The text that tells it from the others of its flow: `30 2 * * * UTC`, `every 10m`."""
    cron: str | None = None
    timezone: str | None = None
    every: int | None = None
    overlap: Overlap = "skip"
    catchup: Catchup = "none"
    input: Formula | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Content of a `webhook` key; `secret` is the name of one, and no `input` means the body."""

    secret: str
    key: Formula | None = None
    input: Formula | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Flow file that passed every check."""

    flow: str
    steps: Mapping[str, Step]
    description: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    input: Mapping[str, Json] | None = None
    input_schema: Json = None
    after: After | None = None
    schedule: tuple[Schedule, ...] = ()
    webhook: Webhook | None = None
    output: Formula | None = None
    timeout: int | None = None
    retention: Retention = field(default_factory=dict)
    concurrency: Concurrency | None = None
    priority: int = 0
    fail_fast: bool = True
    defaults: Defaults = field(default_factory=Defaults)
    finally_: Mapping[str, Step] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """Deployable version of a flow: its canonical body, version, and display order of steps."""

    name: str
    version: str
    body: dict[str, Json]
    order: tuple[str, ...]
    description: str | None
    source: str
    labels: Mapping[str, str] = field(default_factory=dict)
    retention: Retention = field(default_factory=dict)
    inner: tuple[Definition, ...] = ()
    """The flows that are written in steps of this one, at any depth, children first."""

    @property
    def family(self) -> tuple[Definition, ...]:
        """The flows of the file: the inner ones, then this one."""
        return (*self.inner, self)


def inner_name(flow: str, step: str) -> str:
    """Return the name of the flow that is written in a step of another one."""
    return f"{flow}_{step}"
