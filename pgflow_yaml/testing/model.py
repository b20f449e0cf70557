"""A test file as frozen values, with the nodes that a message may point at."""

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
    """Error that a mock raises; `delay` is that of a RetryLater, in milliseconds."""

    type: str
    message: str
    delay: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Result of one call of a mock, after `sleep` milliseconds of the run's time."""

    node: Node
    sleep: int = 0
    output: Json = None
    raises: Raised | None = None
    decision: Decision | None = None
    real: bool = False
    """True when the step's own handler is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Event, approval or rejection for a waiting step, with its data; `kind` names the key."""

    kind: str
    data: Json = None
    by: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mock:
    """Replacement for a step: one play per call; the last one repeats."""

    node: Node
    plays: tuple[Play, ...] = ()
    items: Mapping[int, Mock] = field(default_factory=dict)
    """Mocks of single tasks of a map, by index."""
    mocks: Mapping[str, Mock] = field(default_factory=dict)
    """Mocks for the steps of the child runs that the step starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run: its input, mocks and clock, and the expected result."""

    name: str
    node: Node
    input: Json
    input_node: Node | None
    now: datetime
    at: datetime | None
    """The tick of a schedule of the flow that starts the run, and gives its input."""
    at_node: Node | None
    mocks: Mapping[str, Mock]
    expect: Mapping[str, Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Test file without mistakes."""

    file: str
    document: Document
    flow: str
    flow_node: Node
    files: tuple[str, ...]
    cases: tuple[Case, ...]
