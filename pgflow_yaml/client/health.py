"""A client that looks after the database: its health, queues and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.client.flows import FlowClient
from pgflow_yaml.client.results import QueueSummary, WorkerSummary, row_of
from pgflow_yaml.errors import PgflowError
from pgflow_yaml.text import plural

if TYPE_CHECKING:
    from pgflow_yaml.database.health import Limits, Report

_SWEEPS, _QUIET_SWEEPS = 100, 3


class HealthClient(FlowClient):
    """A connection to the database of the flows; usable from several threads, one at a time."""

    def list_queues(self) -> list[QueueSummary]:
        """Return the queues of all flows and that of the timers, `pgflow__timers`."""
        return [row_of(QueueSummary, row) for row in self._store.list_queues()]

    def list_workers(self, *, every: bool = False) -> list[WorkerSummary]:
        """Return the workers that were heard from in the last day, the last one first.

        Those that have stopped, and older ones, are returned with `every`; 1,000 at most.
        """
        return [row_of(WorkerSummary, row) for row in self._store.list_workers(every=every)]

    def examine(self, *, secure: bool = False, limits: Limits | None = None) -> Report:
        """Make the checks of `doctor`, and with `secure` those of its --security.

        It changes nothing. A check that fails, or takes longer than 5 s, is reported as such.
        """
        from pgflow_yaml.database.health import examine

        return examine(self.conninfo, secure=secure, limits=limits)

    def repair(self, report: Report) -> list[str]:
        """Apply the remedies of a report that can do no harm; return a sentence for each.

        These are: install or update tables and functions, restore functions that were edited, and
        send again what was lost from queues.
        """
        return [self._repair(repair) for repair in report.repairs]

    def _repair(self, repair: str) -> str:
        try:
            if repair == "sweep":
                return f"swept the live runs: {plural(self._sweep_all(), 'repair')}"
            files = self.migrate(again=repair == "restore")
        except PgflowError as error:
            return f"{repair} failed: {error.message}"
        done = "updated the database" if repair == "migrate" else "restored functions and grants"
        return f"{done}: {plural(len(files), 'file')} applied"

    def _sweep_all(self) -> int:
        """Sweep until nothing is found: each sweep looks at some of the live runs."""
        count = quiet = 0
        for _ in range(_SWEEPS):
            found = self._store.sweep()
            count, quiet = count + found, 0 if found else quiet + 1
            if quiet == _QUIET_SWEEPS:
                break
        return count
