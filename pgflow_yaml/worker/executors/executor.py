"""The protocol between the pool of a worker and the executors in which handlers run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Handler
    from pgflow_yaml.worker.task import Task
    from pgflow_yaml.worker.upkeep import Duty


class Executor(Protocol):
    """A place where handlers run: threads, an event loop, processes, a cluster.

    The pool hands tasks over by `submit`. The executor calls `pool.begin` when a handler begins and
    `pool.finish` when it has ended, in any thread, even if its slot was taken meanwhile: `finish`
    then returns False. Each submitted task is finished or withdrawn, whatever its handler
    does (R-5). No method may block: the worker's own thread and the watch of deadlines call them.
    """

    def open(self) -> None:
        """Connect, where there is something to connect to; called once, before tasks are claimed.

        Raise PgflowError if the handlers cannot run there.
        """
        ...

    def slots(self) -> int:
        """Return the number of handlers that can run at once now, `pool.size` at most."""
        ...

    def facts(self) -> Mapping[str, Json]:
        """Return what the list of workers says about it."""
        ...

    def offer(self) -> Mapping[str, float] | None:
        """Return the most of each resource that a task can have; None: the worker counts them."""
        ...

    def duties(self, queues: Sequence[str] | None) -> list[Duty]:
        """Return its regular work in the database, for a worker of these queues (None: all)."""
        ...

    def takes(self, handler: Handler) -> bool:
        """Return True for a handler that must run in this executor."""
        ...

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks, at least one; each begins as soon as there is a slot."""
        ...

    def queued(self) -> int:
        """Return the number of tasks whose handler has not begun."""
        ...

    def withdraw(self, count: int) -> list[Task]:
        """Remove up to `count` queued tasks and return them, the last ones first."""
        ...

    def cancel(self, task: Task) -> None:
        """Ask a running handler to stop; `task.cancelled` is set already."""
        ...

    def free(self, task: Task) -> None:
        """Free the slot of a handler that was asked to stop and still runs."""
        ...

    def check(self) -> None:
        """Repair what is stuck; called several times a second."""
        ...

    def close(self) -> None:
        """Stop when idle; handlers that run may end after it."""
        ...
