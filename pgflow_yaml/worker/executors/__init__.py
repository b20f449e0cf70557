"""The executors, which run handlers.

To add an executor, write a module with a class as `Executor` describes, and enter it here. A
cluster or a pool of somebody else is an engine: see `pgflow_yaml.worker.engines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgflow_yaml.worker.executors.concurrency import CONCURRENCY, MOST_CALLS
from pgflow_yaml.worker.executors.event_loop import EventLoop
from pgflow_yaml.worker.executors.executor import Executor
from pgflow_yaml.worker.executors.pool import Pool
from pgflow_yaml.worker.executors.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgflow_yaml.worker.engines.engine import Engine
    from pgflow_yaml.worker.executors.pool import ExecutorFactory

__all__ = ["EXECUTORS", "Executor", "InEngine", "Pool", "executors_of", "in_processes"]


def in_processes(
    *, env: Sequence[str] = (), memory: int | None = None, tasks: int | None = None
) -> ExecutorFactory:
    """Return the executor that runs handlers in processes, with the settings of these.

    They get the variables named in `env`, may reserve `memory` bytes each, and are replaced after
    so many `tasks`.
    """

    def make(pool: Pool) -> Executor:
        # Threads pay nothing for it.
        from pgflow_yaml.worker.executors.children import ChildSettings
        from pgflow_yaml.worker.executors.processes import Processes

        return Processes(pool, ChildSettings(env=tuple(env), memory=memory, tasks=tasks))

    return make


@dataclass(frozen=True, kw_only=True)
class InEngine:
    """The executor that runs handlers in an engine, which `engine_of` makes from its address."""

    make: Callable[[], Engine]
    lease: float = 30.0
    """The seconds for which what an engine runs is waited for when it has gone."""
    results: str | None = None
    """A folder that all nodes share, for outputs that outlive the worker."""

    def __call__(self, pool: Pool) -> Executor:
        """Return the executor for a pool."""
        from pgflow_yaml.worker.engines.bridge import Bridge

        return Bridge(pool, self.make(), lease=self.lease, results=self.results)


EXECUTORS: dict[str, Sequence[ExecutorFactory]] = {
    "thread": (EventLoop, Threads),
    "process": (in_processes(),),
}
"""The executors that a worker can be started with; `Pool` explains their order."""


def executors_of(executor: str | ExecutorFactory) -> Sequence[ExecutorFactory]:
    """Return the executors of this name, or the one given; raise ValueError for an unknown name."""
    if not isinstance(executor, str):
        return (executor,)
    if executor not in EXECUTORS:
        raise ValueError(f'there is no executor "{executor}", only {", ".join(EXECUTORS)}')
    return EXECUTORS[executor]


def default_concurrency(executor: str | ExecutorFactory) -> int:
    """Return the number of handlers at once, unless it is given: an engine knows its slots."""
    return MOST_CALLS if isinstance(executor, InEngine) else CONCURRENCY
