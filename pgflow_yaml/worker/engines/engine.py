"""The protocol between a worker and an engine that runs its handlers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future


class EngineAway(Unavailable):
    """The engine cannot be reached, or takes nothing now: the worker connects to it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The amount of work that an engine can do at once."""

    slots: int | None
    """Calls at once, 0 while a cluster starts; None if the engine does not say."""
    resources: Mapping[str, float] | None = None
    """The most that one node has of each resource, memory in bytes; None if it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The reason why a call has no reply.

    `crashed`: its process or node died, or the engine lost it. `released`: its node was shut down
    in order, which must not count against the task. `away`: the engine itself has gone.
    """

    kind: Literal["crashed", "released", "away"]
    message: str


class Engine(Protocol):
    """A place that runs `node.call`; one thread of the worker calls these methods.

    None may block for longer than a second, except `open`. Each may raise EngineAway.
    """

    @property
    def name(self) -> str:
        """The engine as the user named it, without passwords."""
        ...

    @property
    def isolates(self) -> bool:
        """True if each call has a process of its own: its death loses no other call."""
        ...

    @property
    def grows(self) -> bool:
        """True if it is a cluster that may grow when it is told how much waits."""
        ...

    def open(self) -> None:
        """Connect; called again after a loss, when calls of before are forgotten."""
        ...

    def capacity(self) -> Capacity:
        """Return the amount of work that it can do now."""
        ...

    def submit(self, text: str, key: str, resources: Mapping[str, float]) -> Future[str]:
        """Let a node call `node.call(text)`, once, under a name that no other call has.

        The engine must not try it again itself: the database counts attempts (X-6).
        """
        ...

    def begun(self, futures: Iterable[Future[str]]) -> set[Future[str]]:
        """Return those of these calls that have begun; all if the engine cannot tell."""
        ...

    def cancel(self, future: Future[str], *, force: bool) -> bool:
        """Cancel a call that waits, with `force` one that runs; True if its slot is surely free."""
        ...

    def explain(self, error: BaseException) -> Loss:
        """Return what an exception of a future that is not a reply means for its tasks."""
        ...

    def want(self, slots: int) -> None:
        """Hint to a cluster that grows: so many calls could run now; 0: none."""
        ...

    def close(self) -> None:
        """Disconnect; calls that run may be lost."""
        ...
