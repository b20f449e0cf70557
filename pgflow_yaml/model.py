"""A checked flow as frozen values; durations are milliseconds, `None` means "not written".

A field is named as its key in the file; a trailing underscore avoids a Python keyword.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

Backoff = Literal["exponential", "fixed"]
WhenUnmet = Literal["skip", "skip-cascade", "fail"]
WhenExhausted = Literal["fail", "skip", "skip-cascade"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A compiled expression or template, and the environment paths that it reads."""

    ast: Json
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """What a `retry` key says; the compiler merges it with the defaults."""

    max_attempts: int | None = None
    base_delay: int | None = None
    max_delay: int | None = None
    backoff: Backoff | None = None
    jitter: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Knobs for every step that does not set them."""

    retry: Retry | None = None
    timeout: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: the function it calls, after which others, and its knobs."""

    handler: str
    depends_on: tuple[str, ...] = ()
    with_: Formula | None = None
    if_: Formula | None = None
    when_unmet: WhenUnmet = "skip"
    map: Formula | None = None
    initial_tasks: int | None = None
    retry: Retry | None = None
    timeout: int | None = None
    start_delay: int = 0
    when_exhausted: WhenExhausted = "fail"
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A flow file whose every check passed."""

    flow: str
    steps: Mapping[str, Step]
    description: str | None = None
    input: Mapping[str, Json] | None = None
    defaults: Defaults = field(default_factory=Defaults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What is deployed: the canonical body, its version, and the order in which steps are shown."""

    name: str
    version: str
    body: dict[str, Json]
    order: tuple[str, ...]
    description: str | None
    source: str
