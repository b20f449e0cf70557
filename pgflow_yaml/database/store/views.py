"""The calls of views: one method for each SQL function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgflow_yaml.database.store.calls import Calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.runs.filters import RunFilters


class ViewCalls(Calls):
    """Read what pages show."""

    def run_marks(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Return the marks of runs, by their ids; a run that is not there has none."""
        reply: dict[str, str] = self.ask("select pgflow.run_marks(%s::uuid[])", [list(run_ids)])
        return reply

    def run_page(
        self, filters: RunFilters, place: Mapping[str, str] | None, limit: int, look: int
    ) -> dict[str, Any]:
        """Return {runs, next, looked}: the runs that match after a place, newest first."""
        text = json.dumps({**filters, **(place or {})})
        reply: dict[str, Any] = self.ask(
            "select pgflow.run_page(%s::jsonb, %s::int, %s::int)", [text, limit, look]
        )
        return reply

    def flow_strips(self, flows: Sequence[str] | None) -> list[dict[str, Any]]:
        """Return how flows have fared lately."""
        given = None if flows is None else list(flows)
        return self.ask("select pgflow.flow_strips(%s::text[])", [given]) or []

    def step_items(self, run_id: str, step: str, first: int, count: int) -> dict[str, Any] | None:
        """Return tasks of a step as letters; None for a step that is not there."""
        reply: dict[str, Any] | None = self.ask(
            "select pgflow.step_items(%s::uuid, %s, %s::int, %s::int)",
            [run_id, step, first, count],
        )
        return reply

    def list_items(
        self, run_id: str, step: str, *, statuses: Sequence[str] | None, first: int, limit: int
    ) -> list[dict[str, Any]]:
        """Return tasks of a step that have one of these statuses."""
        given = None if statuses is None else list(statuses)
        return (
            self.ask(
                "select pgflow.list_items(%s::uuid, %s, %s::text[], %s::int, %s::int)",
                [run_id, step, given, first, limit],
            )
            or []
        )

    def run_audit(self, run_id: str, limit: int) -> list[dict[str, Any]] | None:
        """Return what people did with a run; None for no run."""
        reply: list[dict[str, Any]] | None = self.ask(
            "select pgflow.run_audit(%s::uuid, %s::int)", [run_id, limit]
        )
        return reply
