"""A test file as frozen values; what a message may point at keeps its node of the file's tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.language.source import Document, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """The error that a mock raises; `delay` is that of a RetryLater, in milliseconds."""

    type: str
    message: str
    delay: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What a mock does in one call: time passes, then there is an outcome."""

    node: Node
    sleep: int = 0
    output: Json = None
    raises: Raised | None = None
    decision: Decision | None = None
    real: bool = False
    """Whether the outcome is that of the step's own handler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What reaches a step that waits: an event with its data, an approval, a rejection."""

    kind: str
    data: Json = None
    by: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mock:
    """What stands in for a step: one play a call, the last of them again and again."""

    node: Node
    plays: tuple[Play, ...] = ()
    items: Mapping[int, Mock] = field(default_factory=dict)
    """Other plays for these tasks of a map."""
    mocks: Mapping[str, Mock] = field(default_factory=dict)
    """Mocks for the steps of the child runs that the step starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run under given circumstances, and what it must come to."""

    name: str
    node: Node
    input: Json
    input_node: Node | None
    now: datetime
    mocks: Mapping[str, Mock]
    expect: Mapping[str, Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A test file without mistakes."""

    file: str
    document: Document
    flow: str
    flow_node: Node
    files: tuple[str, ...]
    cases: tuple[Case, ...]
