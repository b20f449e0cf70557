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

    def list_schedules(self, flow: str | None) -> list[dict[str, Any]]:
        """Return the schedules of a flow, or of all."""
        return self.ask("select pgflow.list_schedules(%s)", [flow]) or []

    def pause_schedules(self, flow: str, name: str | None, by: str | None) -> list[dict[str, Any]]:
        """Pause schedules; return {flow, name, paused_at, paused_by, already} of each."""
        return self.ask("select pgflow.pause_schedules(%s, %s, %s)", [flow, name, by]) or []

    def resume_schedules(
        self, flow: str, name: str | None, catchup: str | None, by: str | None
    ) -> list[dict[str, Any]]:
        """Resume schedules; return {flow, name, resumed} of each."""
        query = "select pgflow.resume_schedules(%s, %s, %s, %s)"
        return self.ask(query, [flow, name, catchup, by]) or []

    def backfill_schedule(
        self,
        flow: str,
        name: str,
        ticks: Sequence[datetime],
        *,
        at_once: int,
        suffix: str | None,
        dry_run: bool,
    ) -> dict[str, int]:
        """Start the runs of past ticks, or count them; return {started, existing}."""
        reply: dict[str, int] = self.ask(
            "select pgflow.backfill_schedule(%s, %s, %s::timestamptz[], %s::int, %s, %s)",
            [flow, name, list(ticks), at_once, suffix, dry_run],
        )
        return reply

    def pause_queue(self, queue: str, by: str | None) -> dict[str, Any]:
        """Pause a queue; return {queue, paused_at, paused_by, already}."""
        reply: dict[str, Any] = self.ask("select pgflow.pause_queue(%s, %s)", [queue, by])
        return reply

    def resume_queue(self, queue: str, by: str | None) -> dict[str, Any]:
        """Resume a queue; return {queue, resumed}."""
        reply: dict[str, Any] = self.ask("select pgflow.resume_queue(%s, %s)", [queue, by])
        return reply
