"""Schedules and pauses, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pgflow_yaml.client.results import json_of, row_of
from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.language import ticks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Catchup, Json

MOST_TICKS = 10_000
"""Number of ticks of one backfill."""
_IN_A_COMMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSummary:
    """Schedule in a list, with its next ticks as far as they were asked for.

    `late_seconds` is None unless the next tick is overdue; `served` is False if no worker is alive.
    `problem` tells why the last tick has started nothing.
    """

    flow: str
    name: str
    next_at: datetime | None
    last_at: datetime | None
    last_run: str | None
    last_status: str | None
    fired: int
    skipped: int
    missed: int
    paused_at: datetime | None
    paused_by: str | None
    problem: Mapping[str, Json] | None
    late_seconds: int | None
    served: bool
    spec: Mapping[str, Any]
    next_ticks: tuple[datetime, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `schedules` prints."""
        return json_of(self) | {"next_ticks": [tick.isoformat() for tick in self.next_ticks]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfilled:
    """Result of a backfill: how many ticks got a run, and how many had one."""

    flow: str
    schedule: str
    started: int
    existing: int

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `backfill` prints."""
        return json_of(self)


class ScheduleClient:
    """The calls of a client about schedules and pauses."""

    _store: Store

    def list_schedules(self, flow: str | None = None, *, ticks: int = 0) -> list[ScheduleSummary]:
        """Return the schedules of the active version of a flow, or of all, with so many ticks."""
        return [
            _with_ticks(row_of(ScheduleSummary, {**row, "next_ticks": ()}), ticks)
            for row in self._store.list_schedules(flow)
        ]

    def pause(
        self, flow: str, schedule: str | None = None, *, by: str | None = None
    ) -> list[dict[str, Json]]:
        """Pause the schedules of a flow, or one; return {flow, name, paused_by, …} of each."""
        return self._store.pause_schedules(flow, schedule, by)

    def resume(
        self,
        flow: str,
        schedule: str | None = None,
        *,
        catchup: Catchup | None = None,
        by: str | None = None,
    ) -> list[dict[str, Json]]:
        """Resume the schedules of a flow, or one; return {flow, name, resumed} of each.

        The ticks of the pause start nothing, unless `catchup` says so.
        """
        resumed = self._store.resume_schedules(flow, schedule, catchup, by)
        self._store.wake()
        return resumed

    def pause_queue(self, queue: str, *, by: str | None = None) -> dict[str, Json]:
        """Let no worker claim from a queue, from two seconds later on."""
        return self._store.pause_queue(queue, by)

    def resume_queue(self, queue: str, *, by: str | None = None) -> dict[str, Json]:
        """Let workers claim from a queue again."""
        resumed = self._store.resume_queue(queue, by)
        self._store.wake()
        return resumed

    def backfill(
        self,
        flow: str,
        since: datetime,
        until: datetime | None = None,
        *,
        schedule: str | None = None,
        at_once: int = 1,
        again: bool = False,
        dry_run: bool = False,
    ) -> Backfilled:
        """Start a run for each tick of a schedule in a span that has none, `at_once` at a time.

        With `again`, also for those that have one; with `dry_run`, count only. `schedule` may be
        left out where the flow has one. Times need an offset.
        """
        chosen = self._schedule(flow, schedule)
        until = min(until or datetime.now(UTC), datetime.now(UTC))
        span = ticks.between(chosen.spec, since - timedelta(microseconds=1), until)
        found = list(islice(span, MOST_TICKS + 1))
        if len(found) > MOST_TICKS:
            raise WrongSetting(
                f"the schedule has more than {MOST_TICKS:,} ticks in this time; fill it in parts"
            )
        suffix = uuid4().hex[:8] if again else None
        result = Backfilled(flow=flow, schedule=chosen.name, started=0, existing=0)
        for first in range(0, len(found), _IN_A_COMMIT):
            part = found[first : first + _IN_A_COMMIT]
            reply = self._store.backfill_schedule(
                flow, chosen.name, part, at_once=at_once, suffix=suffix, dry_run=dry_run
            )
            result = replace(
                result,
                started=result.started + reply["started"],
                existing=result.existing + reply["existing"],
            )
        if result.started and not dry_run:
            self._store.wake()
        return result

    def _schedule(self, flow: str, text: str | None) -> ScheduleSummary:
        """Return the schedule that a text means; the database refuses a text that means not one."""
        found = self.list_schedules(flow)
        named = [each for each in found if each.name == text] or [
            each for each in found if each.name.startswith(text or "")
        ]
        if len(named) != 1:
            self._store.backfill_schedule(
                flow, text or "", (), at_once=1, suffix=None, dry_run=True
            )
        return named[0]


def _with_ticks(schedule: ScheduleSummary, count: int) -> ScheduleSummary:
    if not count:
        return schedule
    following = ticks.after(schedule.spec, datetime.now(UTC))
    return replace(schedule, next_ticks=tuple(islice(following, count)))
