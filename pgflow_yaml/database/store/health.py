"""The calls about queues, workers and names: what an operator looks at."""

from __future__ import annotations

from typing import Any

from pgflow_yaml.database.store.calls import Calls


class HealthCalls(Calls):
    """Read what an operator looks at."""

    def list_queues(self) -> list[dict[str, Any]]:
        """Return every queue with the numbers of its messages."""
        return self.ask("select pgflow.list_queues()", []) or []

    def list_workers(self, *, every: bool = False) -> list[dict[str, Any]]:
        """Return the workers, last heard from first; `every`: those that are gone too."""
        return self.ask("select pgflow.list_workers(%s)", [every]) or []
