"""A client that looks after the database: queues and workers."""

from __future__ import annotations

from pgflow_yaml.client.flows import FlowClient
from pgflow_yaml.client.results import QueueSummary, WorkerSummary, row_of


class HealthClient(FlowClient):
    """A connection to the database of the flows; usable from several threads, one at a time."""

    def list_queues(self) -> list[QueueSummary]:
        """Return the queues of all flows and that of the timers, `pgflow__timers`."""
        return [row_of(QueueSummary, row) for row in self._store.list_queues()]

    def list_workers(self, *, every: bool = False) -> list[WorkerSummary]:
        """Return the workers that were heard of in the last day, the last one first.

        Those that have stopped, and older ones, are returned with `every`; 1,000 at most.
        """
        return [row_of(WorkerSummary, row) for row in self._store.list_workers(every=every)]
