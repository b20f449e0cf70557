"""The numbers of the database that a worker exports: read every 15 s by one worker of a host."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily

from pgflow_yaml.worker.upkeep import Duty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry

    from pgflow_yaml.database.store import Store

SECONDS = 15.0
_FRESH_SECONDS = 4 * SECONDS
_QUEUES = {
    "pgflow_queue_ready": ("ready", "Messages that a worker could take now."),
    "pgflow_queue_oldest_seconds": ("oldest", "Seconds since the oldest of them has been ready."),
    "pgflow_queue_leased": ("leased", "Tasks that workers hold."),
    "pgflow_queue_parked": ("parked", "Messages that become ready later: retries and timers."),
}
_STATES = ("live", "waiting", "failed")
_RUNS = (
    "Live runs, those of them that wait for events, times or child runs, and the failed ones among "
    "those started in the last 24 hours."
)
_OLDEST = "Age of the oldest open transaction of this database."


class Gauges(Duty):
    """Read the numbers, and give them to each scrape while they are fresh."""

    name = "gauges"

    def __init__(self, worker: str, registry: CollectorRegistry) -> None:
        super().__init__(time.monotonic() + 1)  # it has registered by then
        self._worker = worker
        self._values: dict[str, Any] | None = None
        self._read_at = 0.0
        registry.register(self)

    def work(self, store: Store) -> float:
        """Read the numbers, unless another worker of this host does."""
        self._values = store.gauges(self._worker)
        self._read_at = time.monotonic()
        return SECONDS

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing: a registry need not read the numbers to know their names."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the numbers; none where another worker has them, or they are old."""
        values = self._values
        if values is None or time.monotonic() - self._read_at > _FRESH_SECONDS:
            return
        for name, (key, text) in _QUEUES.items():
            family = GaugeMetricFamily(name, text, labels=["queue"])
            for queue in values["queues"]:
                family.add_metric([queue["queue"]], queue[key])
            yield family
        runs = GaugeMetricFamily("pgflow_runs", _RUNS, labels=["flow", "state"])
        for flow in values["runs"]:
            for state in _STATES:
                runs.add_metric([flow["flow"], state], flow[state])
        yield runs
        yield GaugeMetricFamily("pgflow_workers", "Living workers.", values["workers"])
        age = values["oldest_transaction"]
        yield GaugeMetricFamily("pgflow_oldest_transaction_seconds", _OLDEST, age)
