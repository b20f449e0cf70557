"""A client that reads what pages show: each call is bounded, however much there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from pgflow_yaml.client.flows import FlowClient
from pgflow_yaml.client.ids import checked_id, no_run
from pgflow_yaml.client.results import RunSummary, json_of, row_of
from pgflow_yaml.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.filters import RunFilters


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Page of a list of runs, newest first.

    `next` is where the next page begins, {"before", "before_id"}, None on the last page. `looked`
    is None unless the page ended because so many runs were looked at; it may then have no run.
    """

    runs: tuple[RunSummary, ...]
    next: Mapping[str, str] | None
    looked: int | None

    def as_json(self) -> dict[str, Json]:
        """Return the page as JSON, each run as `runs` prints it."""
        return json_of(self) | {"runs": [run.as_json() for run in self.runs]}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStrip:
    """Recent results of a flow.

    `last` has {"id", "status", "outcome", "seconds"} of its 30 newest runs, the oldest first.
    `median` and `p95` are the seconds of the completed runs among its 200 newest, None for fewer
    than three. `live` is the number of runs that go on, `day` has those of the last day by status;
    `day["more"]`: there are more than the 2,000 that were counted.
    """

    flow: str
    last: tuple[Mapping[str, Any], ...]
    median: float | None
    p95: float | None
    live: int
    day: Mapping[str, int]

    def as_json(self) -> dict[str, Json]:
        """Return the strip as JSON."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepItems:
    """Tasks of a step in short, from index `first` on, of `total`; `status` is that of the step.

    `items` has two letters a task. The first is its status: q queued, r running, c completed, f
    failed, x cancelled, s skipped, - not made yet. The second is the number of its attempts, + for
    ten and more.
    """

    status: str
    first: int
    total: int
    items: str

    def as_json(self) -> dict[str, Json]:
        """Return the tasks as JSON."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSummary:
    """Task in a list; `error` has the type and the message of its last failure.

    `child` is the run that it started.
    """

    index: int
    status: str
    attempts: int
    crashes: int
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    child: str | None
    error: Mapping[str, str] | None

    def as_json(self) -> dict[str, Json]:
        """Return the task as JSON."""
        return json_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """An act of a person on a run.

    `action` is start, cancel, fail, approve, reject, retry, drop or after. `who` is the name that
    was given, `login` that of the database; `details` has the reason, the comment or the steps.
    """

    action: str
    who: str
    login: str
    at: datetime
    details: Mapping[str, Any]

    def as_json(self) -> dict[str, Json]:
        """Return the line as JSON."""
        return json_of(self)


class ViewClient(FlowClient):
    """A connection to the database of the flows; usable from several threads, one at a time."""

    def run_marks(self, run_ids: Iterable[str]) -> dict[str, str]:
        """Return a mark for each of these runs that exists, 1,000 at most.

        A mark changes with every change of the run that its snapshot shows, with its logs and with
        events that no step waits for yet, and not otherwise: a watcher reads again only the
        runs whose mark has changed. A child run has a mark of its own.
        """
        return self._store.run_marks([checked_id(run_id) for run_id in run_ids])

    def page_runs(
        self,
        *,
        place: Mapping[str, str] | None = None,
        limit: int = 50,
        look: int = 5000,
        **filters: Unpack[RunFilters],
    ) -> RunPage:
        """Return a page of the runs that `list_runs` finds, from the `next` of another page on.

        It takes a bounded time: after `look` runs that were looked at, the page ends.
        """
        if (parent := filters.get("parent")) is not None:
            filters["parent"] = checked_id(parent)
        page = self._store.run_page(filters, place, limit, look)
        runs = tuple(row_of(RunSummary, row) for row in page["runs"])
        return RunPage(runs=runs, next=page["next"], looked=page["looked"])

    def flow_strips(self, flows: Iterable[str] | None = None) -> list[FlowStrip]:
        """Return how these flows have fared lately, or all flows, by name."""
        given = None if flows is None else list(flows)
        return [row_of(FlowStrip, row) for row in self._store.flow_strips(given)]

    def step_items(
        self, run_id: str, step: str, *, first: int = 0, count: int = 10_000
    ) -> StepItems:
        """Return the tasks of a step in short, 10,000 at most; raises NotFound."""
        items = self._store.step_items(checked_id(run_id), step, first, count)
        if items is None:
            raise NotFound(f'run {run_id} has no step "{step}"')
        return row_of(StepItems, items)

    def list_items(
        self,
        run_id: str,
        step: str,
        *,
        statuses: Iterable[str] | None = None,
        first: int = 0,
        limit: int = 100,
    ) -> list[ItemSummary]:
        """Return tasks of a step in the order of their index, from index `first` on.

        `statuses` are queued, started, completed, failed, cancelled and skipped.
        """
        given = None if statuses is None else list(statuses)
        rows = self._store.list_items(
            checked_id(run_id), step, statuses=given, first=first, limit=limit
        )
        return [row_of(ItemSummary, row) for row in rows]

    def audit(self, run_id: str, *, limit: int = 100) -> list[AuditLine]:
        """Return what people did with a run, the oldest first; raises NotFound."""
        rows = self._store.run_audit(checked_id(run_id), limit)
        if rows is None:
            raise no_run(run_id)
        return [row_of(AuditLine, row) for row in rows]
