"""The executors, which run handlers.

To add an executor, write a module with a class as `Executor` describes, and enter it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.worker.executors.event_loop import EventLoop
from pgflow_yaml.worker.executors.executor import Executor
from pgflow_yaml.worker.executors.pool import Pool
from pgflow_yaml.worker.executors.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.worker.executors.pool import ExecutorFactory

__all__ = ["EXECUTORS", "Executor", "Pool"]

EXECUTORS: dict[str, Sequence[ExecutorFactory]] = {
    "thread": (EventLoop, Threads),
}
"""The executors that a worker can be started with; `Pool` explains their order."""
