"""Connect to the database of flows; deploy, activate, list and compare them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

from pgflow_yaml.client import deploying
from pgflow_yaml.client.results import (
    Deployed,
    FlowSummary,
    Preview,
    StoredVersion,
    VersionSummary,
    row_of,
)
from pgflow_yaml.database import migrate
from pgflow_yaml.database.store import Bounds, Store
from pgflow_yaml.errors import NotFound
from pgflow_yaml.language.model import Definition
from pgflow_yaml.project.database import open_database
from pgflow_yaml.project.flow_set import FlowSet
from pgflow_yaml.project.settings import read_settings
from pgflow_yaml.project.versions import compare_versions, compare_with_active

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgflow_yaml.database.store import Attempts
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.project.versions import Comparison


class FlowClient:
    """A connection to the database of the flows; usable from several threads, one at a time."""

    def __init__(
        self,
        conninfo: str = "",
        *,
        on_lost: Callable[[], None] | None = None,
        patience: float | None = 5.0,
        notify: bool = True,
        read_only: bool = False,
        statement_seconds: float | None = None,
    ) -> None:
        """Store the settings; an empty conninfo leaves everything to libpq's own variables.

        A lost connection is retried for `patience` seconds, None is for ever; `on_lost` is
        called before each attempt. With `notify`, idle workers are woken after a start. With
        `read_only`, the server refuses what writes; `statement_seconds` is the limit for one
        statement (without both it is 30 s, unless a pooler hides that from the server).
        """
        self.conninfo = conninfo
        self.embedded = False
        self._resources = ExitStack()
        self._notify = notify
        self._on_lost = on_lost
        self._store = Store(
            conninfo,
            name="pgflow-yaml client",
            patience=patience,
            on_lost=on_lost,
            bounds=Bounds(read_only=read_only, statement_seconds=statement_seconds),
        )

    @classmethod
    def for_project(
        cls,
        folder: str | Path = ".",
        *,
        dsn: str | None = None,
        notify: bool | None = None,
        checked: bool = True,
        on_embedded: Callable[[], None] = lambda: None,
        read_dsn: str | None = None,
    ) -> Self:
        """Connect to the database that the command line uses in a folder.

        That is `dsn`, DATABASE_URL or libpq's variables, else the embedded PostgreSQL of the
        project: it is started, migrated, and kept running until the client is closed. `notify`
        replaces the project's setting; `checked` False leaves the tables as they are. With
        `read_dsn`, it connects there instead, perhaps to a standby, and can only read.
        """
        if notify is None:
            notify = read_settings(Path(folder), flags={}, environ=os.environ).notify
        with ExitStack() as stack:
            if read_dsn is not None:
                dsn = read_dsn
            database = stack.enter_context(
                open_database(Path(folder), dsn=dsn, checked=checked, on_embedded=on_embedded)
            )
            client = cls(
                database.conninfo,
                on_lost=database.revive,
                notify=notify,
                read_only=read_dsn is not None,
            )
            client.embedded = database.embedded
            client._resources = stack.pop_all()
        return client

    def patient(self) -> Self:
        """Return a second client that waits for a lost database without a time limit (F4)."""
        return self.another(patience=None)

    def another(
        self,
        *,
        patience: float | None = 5.0,
        read_only: bool = False,
        statement_seconds: float | None = None,
    ) -> Self:
        """Return a second client of the same database, for another thread; it is the caller's."""
        return type(self)(
            self.conninfo,
            on_lost=self._on_lost,
            patience=patience,
            notify=self._notify,
            read_only=read_only,
            statement_seconds=statement_seconds,
        )

    def cut(self) -> None:
        """Let a call in another thread that waits for the server fail at once."""
        if self._store.waiting_since is not None:
            self._store.interrupt()

    def close(self) -> None:
        """Disconnect; an embedded server without other users stops."""
        self._store.close()
        self._resources.close()

    def __enter__(self) -> Self:
        """Return the client, which connects at the first call."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.close()

    def wake(self) -> None:
        """Wake idle workers; call it after the commit of a transaction that a call joined (`conn`).

        Calls without `conn` wake them already. Nothing depends on it: workers also poll, by
        default at least once a second.
        """
        if self._notify:
            self._store.wake()

    def migrate(self, *, roles: bool = False, again: bool = False) -> list[str]:
        """Install or update the tables and functions; return the files that were applied.

        With `roles`, make the roles `pgflow_owner`, `pgflow_worker` and the others, and grant each
        what it needs. With `again`, also restore functions and grants that were edited by hand.
        """
        return migrate.apply(self.conninfo, roles=roles, again=again)

    # Flows

    @overload
    def deploy(
        self, flows: Definition, *, git: Json = None, activate: bool | None = True
    ) -> Deployed: ...

    @overload
    def deploy(
        self,
        flows: FlowSet | Iterable[Definition],
        *,
        git: Json = None,
        activate: bool | None = True,
    ) -> tuple[Deployed, ...]: ...

    def deploy(
        self,
        flows: Definition | FlowSet | Iterable[Definition],
        *,
        git: Json = None,
        activate: bool | None = True,
    ) -> Deployed | tuple[Deployed, ...]:
        """Store versions of flows and make them active; what did not change is left alone.

        Raises InvalidFlow, as `compile` does, for an invalid file, an unknown child flow, or a
        step that its child refuses: then nothing is stored. Children are stored first; the results
        are in the order of the flows. With `activate` None, only flows without an active version
        are activated. `git` describes the commit; a set finds it by its files.
        """
        if isinstance(flows, (str, bytes, Path)):
            raise TypeError(f"{flows!r} is a path; deploy load(path), or FlowSet.load([path])")
        if isinstance(flows, Definition):
            return self.deploy([flows], git=git, activate=activate)[0]
        if isinstance(flows, FlowSet):
            return self.deploy_set(flows, activate=activate)
        flow_set = FlowSet.of_definitions(flows)
        return deploying.deploy(self._store, flow_set, lambda _: git, activate=activate)

    def deploy_set(self, flows: FlowSet, *, activate: bool | None = True) -> tuple[Deployed, ...]:
        """Store the flows of a set, each with the state of its file in git; see `deploy`."""
        return deploying.deploy(self._store, flows, deploying.git_facts, activate=activate)

    def check(self, flows: FlowSet) -> FlowSet:
        """Return a set with the findings between its flows and those in the database."""
        return deploying.check(self._store, flows)

    def preview(self, flows: FlowSet, *, activate: bool = True) -> tuple[Preview, ...]:
        """Check a set and return the results that `deploy` would have; nothing is stored."""
        return deploying.preview(self._store, flows, activate=activate)

    def activate(self, name: str, version: str, *, by: str | None = None) -> Deployed:
        """Make a stored version the active one; `version` may be a unique beginning of it.

        `by` names who activates in the audit (default: the database's user).
        """
        return row_of(Deployed, self._store.activate(name, version, by))

    def list_flows(self, *, counts: bool = True) -> list[FlowSummary]:
        """Return the flows in the database; their runs are counted unless `counts` is False."""
        return [row_of(FlowSummary, row) for row in self._store.list_flows(counts=counts)]

    def list_versions(self, name: str) -> list[VersionSummary]:
        """Return the versions of a flow, newest first."""
        return [row_of(VersionSummary, row) for row in self._store.list_versions(name)]

    def get_definition(self, name: str, version: str | None = None) -> StoredVersion | None:
        """Return a stored version (the active one by default) with its source, or None."""
        return deploying.stored_version(self._store, name, version)

    def get_webhook(self, name: str) -> dict[str, Any] | None:
        """Return {version, webhook} of a flow's active version, as compiled; None without one."""
        return self._store.get_webhook(name)

    def compare_with_active(self, new: Definition, name: str) -> Comparison:
        """Compare a definition with the active version; `name` is its name for a reader."""
        active = self.get_definition(new.name)
        return compare_with_active(new, active.as_definition() if active else None, name)

    def compare_versions(self, flow: str, old: str, new: str) -> Comparison:
        """Compare two stored versions of a flow; raises NotFound."""
        sides = []
        for version in (old, new):
            stored = self.get_definition(flow, version)
            if stored is None:
                raise NotFound(f'flow "{flow}" has no version "{version}"')
            sides.append(stored.as_definition())
        return compare_versions(*sides)

    def _preparation(
        self, *, checked: bool, on_ready: Callable[[], None] | None
    ) -> Callable[[Attempts], None]:
        """Return what a worker does once the database answers, before it registers."""

        def prepare(attempts: Attempts) -> None:
            if checked:
                migrate.check(self.conninfo, attempts)
            if on_ready is not None:
                on_ready()

        return prepare
