"""The databases of a project behind one object: a flow's name picks one, a run's id finds one."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack
from uuid import UUID

from pgflow_yaml.client.asking import Answers, ask_all
from pgflow_yaml.client.members import Member, project_members
from pgflow_yaml.errors import NotFound, PgflowError, Unavailable, WrongSetting
from pgflow_yaml.project.databases import DEFAULT, checked_databases, read_databases
from pgflow_yaml.project.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pgflow_yaml.client import (
        Cancelled,
        Client,
        Deployed,
        FlowSummary,
        Run,
        RunSummary,
        Sent,
        Started,
    )
    from pgflow_yaml.project.flow_set import FlowSet
    from pgflow_yaml.runs.filters import RunFilters
    from pgflow_yaml.runs.snapshot import Snapshot

Rows = TypeVar("Rows")
LOOK_UP_SECONDS, LIST_SECONDS = 1.0, 8.0


def _not_silent(name: str, error: PgflowError) -> None:
    raise Unavailable(f'database "{name}": {error.message}') from error


class Router:
    """Clients of several databases, opened when they are needed; usable from several threads."""

    def __init__(
        self,
        databases: Mapping[str, str],
        routes: Mapping[str, str],
        *,
        notify: bool = True,
        on_away: Callable[[str, PgflowError], None] = _not_silent,
    ) -> None:
        """`databases` are connection strings by name; `routes` are names by flow, or `order*`.

        A flow's own route wins, then the longest beginning; a flow without one goes to the database
        `default`. A list of all databases calls `on_away` for one that does not answer, and goes on
        with the others unless it raises, as it does by default. Raises WrongSetting.
        """
        given = {name: text for name, text in databases.items() if name != DEFAULT}
        self._databases = checked_databases(given, routes, "the databases of this router")
        self._on_away = on_away
        self._members = {
            name: Member(partial(str, text), notify=notify) for name, text in databases.items()
        }

    @classmethod
    def for_project(
        cls,
        folder: str | Path = ".",
        *,
        notify: bool | None = None,
        checked: bool = True,
        on_embedded: Callable[[], None] = lambda: None,
        on_away: Callable[[str, PgflowError], None] = _not_silent,
    ) -> Self:
        """Return a router with the databases and routes of the pyproject.toml of a folder.

        Its default database is that of `Client.for_project`, with the same arguments.
        """
        folder = Path(folder)
        if notify is None:
            notify = read_settings(folder, flags={}, environ=os.environ).notify
        router = cls({}, {}, on_away=on_away)
        router._databases = read_databases(folder)
        router._members = project_members(
            folder, router._databases, notify=notify, checked=checked, on_embedded=on_embedded
        )
        return router

    def close(self) -> None:
        """Disconnect from all databases."""
        for member in self._members.values():
            member.close()

    def __enter__(self) -> Self:
        """Return the router, which connects at the first call."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect from all databases."""
        self.close()

    # Clients

    @property
    def names(self) -> list[str]:
        """The names of the databases, without a default one that would have to be made first."""
        return [name for name, member in self._members.items() if member.exists()]

    def name_of(self, flow: str) -> str:
        """Return the name of the database of a flow."""
        return self._databases.of_flow(flow)

    def client(self, name: str) -> Client:
        """Return the client of a database, which the router closes; raises WrongSetting."""
        member = self._members.get(self._databases.named(name))
        if member is None:
            raise WrongSetting(f'there is no database "{name}": give the router one of this name')
        return member.client()

    def client_of(self, flow: str) -> Client:
        """Return the client of the database of a flow."""
        return self.client(self.name_of(flow))

    def client_with(self, run: str) -> Client:
        """Return the client of the database with a run: an id, `last`, a key, a beginning of an id.

        All databases are asked at once, for a second. Raises NotFound; WrongSetting for a text that
        means runs in several databases; Unavailable if a database that is away may have the run.
        """
        return self.client(self.name_with(run))

    def name_with(self, run: str) -> str:
        """Return the name of the database with a run; see `client_with`."""
        is_whole = _is_id(run)
        found = self._find_last() if run == "last" else self._find(run, enough=is_whole)
        hits = {name: ids for name, ids in found.given.items() if ids}
        if len(hits) > 1 and not all(_begin_so(ids, run) for ids in hits.values()):
            hits = {name: ids for name, ids in hits.items() if not _begin_so(ids, run)}  # keys win
        if found.away and not (hits and is_whole):
            name, error = next(iter(found.away.items()))
            raise Unavailable(
                f'database "{name}" may have the run "{run}" and is away ({error.message}); '
                "--database names the one to look in"
            )
        if not hits:
            raise NotFound(f'there is no run "{run}" in {_listed(self.names)}')
        if len(hits) > 1:
            raise WrongSetting(
                f'"{run}" means runs in several databases: {_listed(hits)}; --database chooses one'
            )
        return next(iter(hits))

    def each(
        self, read: Callable[[Client], Rows], *, tolerant: bool = True
    ) -> list[tuple[str, Rows]]:
        """Return what `read` returns for each database, with its name; they are read at once.

        A database in which it raises NotFound is left out, unless all of them do. With `tolerant`,
        one that is away is reported by `on_away`; Unavailable is raised if all are.
        """
        answers = ask_all(
            self._awake(), lambda name: read(self._members[name].asked()), seconds=LIST_SECONDS
        )
        if answers.away and not (answers.given or answers.unknown):
            tolerant = False
        for name, error in answers.away.items():
            (self._on_away if tolerant else _not_silent)(name, error)
        if not answers.given and answers.unknown:
            raise next(iter(answers.unknown.values()))
        return list(answers.given.items())

    def _find(self, run: str, *, enough: bool) -> Answers[list[str]]:
        return ask_all(
            self._awake(),
            lambda name: self._members[name].asked(checked=False).find_run(run),
            seconds=LOOK_UP_SECONDS,
            enough=lambda ids: enough and bool(ids),
        )

    def _find_last(self) -> Answers[list[str]]:
        """Find the latest run of all databases."""
        found = ask_all(
            self._awake(),
            lambda name: self._members[name].asked(checked=False).list_runs(limit=1),
            seconds=LOOK_UP_SECONDS,
        )
        times = {name: runs[0].created_at for name, runs in found.given.items() if runs}
        latest = max(times, key=lambda name: times[name], default=None)
        return Answers({} if latest is None else {latest: ["last"]}, found.away)

    def _awake(self) -> list[str]:
        """Return the names, once an embedded server has started: this may take its time."""
        for name in self.names:
            self._members[name].rouse()
        return self.names

    # Flows and runs, as a client has them

    def deploy(self, flows: FlowSet, *, activate: bool | None = True) -> tuple[Deployed, ...]:
        """Store each flow of a set in its database; see `Client.deploy`, and `parts`.

        All parts are checked before one is stored.
        """
        parts = self.parts(flows)
        for name, part in parts.items():
            self.client(name).check(part).require()
        stored = [
            deployed
            for name, part in parts.items()
            for deployed in self.client(name).deploy_set(part, activate=activate)
        ]
        order = [definition.name for definition in flows.definitions]
        return tuple(sorted(stored, key=lambda deployed: order.index(deployed.name)))

    def parts(self, flows: FlowSet) -> dict[str, FlowSet]:
        """Return the flows of a valid set by database; raises InvalidFlow, and WrongSetting.

        A child runs in the database of its parent: one that has a route elsewhere is refused.
        """
        from pgflow_yaml.client.routing import parts

        return parts(flows, self.name_of)

    def start(self, flow: str, input: object = None, **settings: Any) -> Run:  # noqa: A002
        """Start a run in the database of its flow; see `Client.start`."""
        return self.client_of(flow).start(flow, input, **settings)

    def start_run(self, flow: str, input: object = None, **settings: Any) -> Started:  # noqa: A002
        """Start a run in the database of its flow, without reading it; see `Client.start_run`."""
        return self.client_of(flow).start_run(flow, input, **settings)

    def start_many(self, flow: str, inputs: Iterable[object], **settings: Any) -> list[str]:
        """Start a run for each input in the database of the flow; see `Client.start_many`."""
        return self.client_of(flow).start_many(flow, inputs, **settings)

    def get(self, run_id: str) -> Run:
        """Return a run as it is now, wherever it is; raises NotFound."""
        return self.client_with(run_id).get(run_id)

    def wait(self, run_id: str, timeout: float | None = None) -> Run:
        """Return the completed run; see `Client.wait`."""
        return self.client_with(run_id).wait(run_id, timeout)

    def run_snapshot(self, run_id: str, **parts: Any) -> Snapshot:
        """Return everything about a run; see `Client.run_snapshot`."""
        return self.client_with(run_id).run_snapshot(run_id, **parts)

    def cancel(self, run_id: str, reason: str | None = None, *, by: str | None = None) -> Cancelled:
        """Cancel a run; see `Client.cancel`."""
        return self.client_with(run_id).cancel(run_id, reason, by=by)

    def send(self, run: str, event: str, data: object = None, *, by: str | None = None) -> Sent:
        """Send an event to a run, by its id or its key; see `Client.send`."""
        return self.client_with(run).send(run, event, data, by=by)

    def list_runs(
        self, *, limit: int = 20, **filters: Unpack[RunFilters]
    ) -> list[tuple[str, RunSummary]]:
        """Return (database, run) of all databases, the newest run first; see `Client.list_runs`."""
        found = self.each(lambda client: client.list_runs(limit=limit, **filters))
        rows = [(name, run) for name, runs in found for run in runs]
        return sorted(rows, key=lambda row: row[1].created_at, reverse=True)[:limit]

    def list_flows(self, *, counts: bool = True) -> list[tuple[str, FlowSummary]]:
        """Return (database, flow) of all databases, by the names of the flows."""
        found = self.each(lambda client: client.list_flows(counts=counts))
        rows = [(name, flow) for name, flows in found for flow in flows]
        return sorted(rows, key=lambda row: (row[1].name, row[0]))


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _begin_so(ids: Iterable[str], text: str) -> bool:
    return all(run.replace("-", "").startswith(text.replace("-", "")) for run in ids)


def _listed(names: Iterable[str]) -> str:
    return " and ".join(names)
