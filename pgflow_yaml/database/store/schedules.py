"""The calls about schedules: one method for each SQL function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.database.store.calls import Calls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class ScheduleCalls(Calls):
    """Fire, read, pause and resume schedules."""

    def fire_schedule(
        self,
        flow: str,
        name: str,
        seen: datetime | None,
        *,
        ticks: Sequence[datetime] = (),
        missed: int = 0,
        next_tick: datetime | None = None,
        problem: str | None = None,
    ) -> dict[str, Any]:
        """Start the runs of ticks; return {fired, runs, skipped, missed, problem}."""
        reply: dict[str, Any] = self.ask(
            "select pgflow.fire_schedule(%s, %s, %s::timestamptz, %s::timestamptz[], %s::bigint,"
            " %s::timestamptz, %s)",
            [flow, name, seen, list(ticks), missed, next_tick, problem],
        )
        return reply
