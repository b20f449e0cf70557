"""The measurements of one worker, in the form of the Prometheus client."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.worker.executors import Pool
    from pgflow_yaml.worker.logs import Logs
    from pgflow_yaml.worker.task import Task

_ATTEMPT_SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)
_TURN_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_TURN_TASKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


class Measures:
    """Counters and histograms, updated by the thread that takes turns.

    A label is a name from a flow file, never a run or a key: their number is bounded.
    """

    def __init__(self, pool: Pool, logs: Logs) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._attempts = Counter(
            "pgflow_attempts",
            "Attempts that have ended in this worker.",
            ["flow", "step", "outcome"],
            registry=registry,
        )
        self._attempt_seconds = Histogram(
            "pgflow_attempt_seconds",
            "Duration of handlers.",
            ["flow", "step"],
            buckets=_ATTEMPT_SECONDS,
            registry=registry,
        )
        self._turn_seconds = Histogram(
            "pgflow_turn_seconds",
            "Duration of turns: results reported and tasks claimed in one commit.",
            buckets=_TURN_SECONDS,
            registry=registry,
        )
        self._turn_tasks = Histogram(
            "pgflow_turn_tasks",
            "Tasks that a turn claimed.",
            buckets=_TURN_TASKS,
            registry=registry,
        )
        self._lost = Counter(
            "pgflow_lost",
            "Results refused because another worker had the task, or it had ended.",
            registry=registry,
        )
        self._reconnects = Counter(
            "pgflow_reconnects",
            "Times that the connection for turns was opened again.",
            registry=registry,
        )
        _watch_pool(pool, registry)
        registry.register(_DroppedLines(logs))
        Info("pgflow_build", "Release and Python of this worker.", registry=registry).info(
            {"release": version("pgflow-yaml"), "python": sys.version.split()[0]}
        )

    def saw_turn(self, seconds: float, claimed: int) -> None:
        """Count a turn."""
        self._turn_seconds.observe(seconds)
        self._turn_tasks.observe(claimed)

    def saw_verdict(self, task: Task, verdict: str) -> None:
        """Count an attempt whose result has its verdict."""
        outcome = task.outcome
        if outcome is None:
            return
        flow, step = task.context.flow, task.step
        if verdict == "lost":
            self._lost.inc()
        kind = "lost" if verdict == "lost" else outcome.kind
        self._attempts.labels(flow, step, kind).inc()
        if outcome.elapsed:
            self._attempt_seconds.labels(flow, step).observe(outcome.elapsed)

    def saw_reconnect(self) -> None:
        """Count a connection that was opened again."""
        self._reconnects.inc()


def _watch_pool(pool: Pool, registry: CollectorRegistry) -> None:
    """Read what the pool knows at each scrape."""
    slots = Gauge(
        "pgflow_slots", "Slots of this worker for handlers.", ["state"], registry=registry
    )
    slots.labels("busy").set_function(lambda: min(len(pool.running), pool.size))
    slots.labels("free").set_function(lambda: max(pool.size - len(pool.running), 0))
    Gauge(
        "pgflow_abandoned_threads",
        "Handlers that were given up and have not returned.",
        registry=registry,
    ).set_function(lambda: pool.abandoned)


class _DroppedLines:
    """The count that the logs of a worker keep themselves."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Read it."""
        text = "Log lines of handlers that the database did not take in time."
        yield CounterMetricFamily("pgflow_log_lines_dropped", text, self._logs.lost)
