"""The calls of the database: one method for each SQL function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, LiteralString, NotRequired, Self, TypedDict
from uuid import uuid4

from pgflow_yaml.database.store.attempts import Attempts, Outage
from pgflow_yaml.database.store.connection import Connection, ask_within
from pgflow_yaml.database.store.errors import Refused
from pgflow_yaml.database.store.wake import CHANNEL, Listener, WakeUpsUnsupported, wake_ups
from pgflow_yaml.errors import PgflowError, SchemaMismatch, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pgflow_yaml.database.store.connection import JoinedConnection
    from pgflow_yaml.language.model import Definition, Json
    from pgflow_yaml.runs.snapshot import Snapshot, TaskShape

__all__ = [
    "LOCK_TIMEOUT",
    "LONGEST_LEASE",
    "MOST_CHARACTERS",
    "Attempts",
    "Listener",
    "Outage",
    "Refused",
    "Store",
    "TimersReply",
    "TurnReply",
    "WakeUpsUnsupported",
]

LOCK_TIMEOUT = "55P03"
"""The SQLSTATE of a statement that has waited for a lock as long as it may."""
LONGEST_LEASE = 86_400.0
"""The longest lease that the database gives, in seconds; the shortest is one second."""

MOST_CHARACTERS = 8_000_000
"""The limit for the data of one statement, unless a single value is longer."""


class TimersReply(TypedDict, total=False):
    """The reply of `pgflow.wind`, and a part of that of `pgflow.turn`."""

    next_ms: int | None
    timers: int
    timer_errors: list[dict[str, Any]]


class TurnReply(TimersReply):
    """The reply of `pgflow.turn`."""

    verdicts: list[str]
    tasks: list[dict[str, Any]]
    contexts: dict[str, dict[str, Any]]
    specs: dict[str, dict[str, Any]]
    unreadable: NotRequired[list[dict[str, Any]]]
    alone: NotRequired[bool]
    crashed: NotRequired[bool]
    places: NotRequired[dict[str, Json]]


class Served(TypedDict):
    """The reply of `pgflow.served_since`."""

    queues: list[str]
    handlers: list[str]
    until: str


class Store(Connection):
    """The SQL functions over one connection, for one thread at a time."""

    def __enter__(self) -> Self:
        """Connect at the first statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.close()

    def _ask_in(
        self,
        connection: JoinedConnection | None,
        query: LiteralString,
        params: Sequence[object],
        *,
        repeatable: bool = True,
    ) -> Any:
        """Ask in the caller's transaction if there is one."""
        if connection is not None:
            return ask_within(connection, query, params)
        return self.ask(query, params, repeatable=repeatable)

    # Definitions

    def deploy(
        self, definition: Definition, *, git: Json = None, activate: bool = True
    ) -> dict[str, Any]:
        """Store a version; return {name, version, flow_slug, status, active}."""
        body, facts = json.dumps(definition.body), None if git is None else json.dumps(git)
        labels = json.dumps(dict(definition.labels)) if definition.labels else None
        reply: dict[str, Any] = self.ask(
            "select pgflow.deploy(%s::jsonb, %s, %s::text[], %s, %s, %s::jsonb, %s, %s::jsonb)",
            [
                body,
                definition.version,
                list(definition.order),
                definition.source,
                definition.description,
                facts,
                activate,
                labels,
            ],
        )
        return reply

    def activate(self, name: str, version: str) -> dict[str, Any]:
        """Make a stored version the active one."""
        reply: dict[str, Any] = self.ask("select pgflow.activate(%s, %s)", [name, version])
        return reply

    def list_flows(self) -> list[dict[str, Any]]:
        """Return every flow with its counts of runs."""
        return self.ask("select pgflow.list_flows()", []) or []

    def list_versions(self, name: str) -> list[dict[str, Any]]:
        """Return the versions of a flow, newest first."""
        return self.ask("select pgflow.list_versions(%s)", [name]) or []

    def get_definition(
        self,
        name: str,
        version: str | None = None,
        *,
        connection: JoinedConnection | None = None,
    ) -> dict[str, Any] | None:
        """Return a stored version, the active one by default."""
        reply: dict[str, Any] | None = self._ask_in(
            connection, "select pgflow.get_definition(%s, %s)", [name, version]
        )
        return reply

    # Runs

    def start_run(
        self,
        name: str,
        input_text: str,
        *,
        key: str | None = None,
        version: str | None = None,
        labels: Mapping[str, str] | None = None,
        connection: JoinedConnection | None = None,
    ) -> dict[str, Any]:
        """Start a run; return {run_id, flow, version, status, created}."""
        reply: dict[str, Any] = self._ask_in(
            connection,
            "select pgflow.start_run(%s, %s::jsonb, %s, %s, %s::jsonb)",
            [name, input_text, key, version, json.dumps(dict(labels)) if labels else None],
            repeatable=key is not None,
        )
        return reply

    def start_runs(
        self,
        name: str,
        input_texts: Sequence[str],
        *,
        version: str | None = None,
        connection: JoinedConnection | None = None,
    ) -> list[str]:
        """Start many runs of a flow in one commit; return their ids in the order of the inputs."""
        reply: list[str] = self._ask_in(
            connection,
            "select coalesce(array_agg(r.id::text order by r.nr), '{}')"
            " from pgflow.start_runs(%s, %s::text[]::jsonb[], %s) with ordinality r(id, nr)",
            [name, list(input_texts), version],
            repeatable=False,
        )
        return reply

    def cancel_run(self, run_id: str, reason: str | None = None) -> dict[str, Any]:
        """Cancel a run; return {run_id, status, outcome, cancelled}."""
        reply: dict[str, Any] = self.ask(
            "select pgflow.cancel_run(%s::uuid, %s, %s::uuid)", [run_id, reason, _request()]
        )
        return reply

    def send_event(
        self,
        run: str,
        event: str,
        *,
        data_text: str,
        by: str | None,
        connection: JoinedConnection | None = None,
    ) -> dict[str, Any]:
        """Send an event to a run; return {run_id, event, steps, stored, already}."""
        reply: dict[str, Any] = self._ask_in(
            connection,
            "select pgflow.send_event(%s, %s, %s::jsonb, %s, %s::uuid)",
            [run, event, data_text, by, _request()],
        )
        return reply

    def approve_step(
        self,
        run: str,
        step: str,
        *,
        comment: str | None,
        by: str | None,
        connection: JoinedConnection | None = None,
    ) -> dict[str, Any]:
        """Approve a waiting step; return {run_id, step, status, applied, by, at}."""
        reply: dict[str, Any] = self._ask_in(
            connection,
            "select pgflow.approve_step(%s, %s, %s, %s, %s::uuid)",
            [run, step, comment, by, _request()],
        )
        return reply

    def reject_step(
        self,
        run: str,
        step: str,
        *,
        comment: str | None,
        by: str | None,
        connection: JoinedConnection | None = None,
    ) -> dict[str, Any]:
        """Reject a waiting step; return as `approve_step`."""
        reply: dict[str, Any] = self._ask_in(
            connection,
            "select pgflow.reject_step(%s, %s, %s, %s, %s::uuid)",
            [run, step, comment, by, _request()],
        )
        return reply

    def fail_run(self, run_id: str, error: Json) -> bool:
        """Fail a run whose task can report nothing else."""
        return bool(
            self.ask("select pgflow.fail_run(%s::uuid, %s::jsonb)", [run_id, json.dumps(error)])
        )

    def run_snapshot(
        self,
        run_id: str,
        *,
        items: bool = False,
        after_error: int = 0,
        outputs: bool = True,
        connection: JoinedConnection | None = None,
    ) -> Snapshot | None:
        """Return a run with its steps, and its errors after the one with id `after_error`."""
        reply: Snapshot | None = self._ask_in(
            connection,
            "select pgflow.run_snapshot(%s::uuid, %s, %s::bigint, %s)",
            [run_id, items, after_error, outputs],
        )
        return reply

    def run_input(self, run_id: str) -> Json:
        """Return the input of a run."""
        reply: Json = self.ask("select pgflow.run_input(%s::uuid)", [run_id])
        return reply

    def list_runs(
        self,
        *,
        flow: str | None = None,
        status: str | None = None,
        since: float | None = None,
        limit: int = 20,
        labels: Mapping[str, str] | None = None,
        children: bool = False,
    ) -> list[dict[str, Any]]:
        """Return runs with all of `labels`, newest first; `since` in seconds."""
        wanted = json.dumps(dict(labels)) if labels else None
        return (
            self.ask(
                "select pgflow.list_runs("
                "%s, %s, make_interval(secs => %s), %s::int, %s::jsonb, %s)",
                [flow, status, since, limit, wanted, children],
            )
            or []
        )

    def run_workers(self, run_id: str) -> dict[str, int]:
        """Return the number of workers that serve each queue of a run's steps."""
        return self.ask("select pgflow.run_workers(%s::uuid)", [run_id]) or {}

    def task_snapshot(self, run_id: str, step: str, index: int) -> TaskShape | None:
        """Return a task of a step; None if the task does not exist yet."""
        reply: TaskShape | None = self.ask(
            "select pgflow.task_snapshot(%s::uuid, %s, %s::int)", [run_id, step, index]
        )
        return reply

    def usual_seconds(self, run_id: str) -> float | None:
        """Return the time that runs of the same flow usually took before this one, if known."""
        reply: float | None = self.ask("select pgflow.usual_seconds(%s::uuid)", [run_id])
        return reply

    def find_run(self, text: str) -> list[str]:
        """Return the ids of the runs that a text may mean, five at most."""
        return self.ask("select pgflow.find_run(%s)", [text]) or []

    def wake(self) -> None:
        """Wake idle workers, as a hint: it never fails and may do nothing."""
        if wake_ups.passes(self.conninfo):
            self.hint("select pg_catalog.pg_notify(%s, '')::text", [CHANNEL])

    # Workers

    def register_worker(self, worker: str, queues: Sequence[str] | None, info: Json) -> None:
        """Register a worker."""
        self.ask(
            "select pgflow.register_worker(%s::uuid, %s::text[], %s::jsonb)",
            [worker, None if queues is None else list(queues), json.dumps(info)],
        )

    def stop_worker(self, worker: str) -> None:
        """Mark a worker as stopped."""
        self.ask("select pgflow.stop_worker(%s::uuid)", [worker])

    def served_queues(self) -> list[str]:
        """Return the queues of all deployed flows."""
        return self.ask("select pgflow.served_queues()", []) or []

    def served_since(self, named: Sequence[str] | None, since: str | None) -> Served:
        """Return the queues named, or all, and the handlers of steps that are new in them."""
        served: Served = self.ask(
            "select pgflow.served_since(%s::text[], %s::timestamptz)",
            [None if named is None else list(named), since],
        )
        return served

    def run_queues(self, run_id: str) -> list[str]:
        """Return the queues of a run and of its child runs, those to come included."""
        return self.ask("select pgflow.run_queues(%s::uuid)", [run_id]) or []

    def turn(
        self,
        worker: str,
        results: Sequence[str],
        *,
        queues: Sequence[str],
        quantity: int,
        lease: float,
        refused: Sequence[str] = (),
        options: Mapping[str, Json] | None = None,
        tries: int = 5,
    ) -> TurnReply:
        """Settle results (the JSON text of each) and claim tasks, in one commit.

        Raise Refused after so many `tries` that the server answered with an error, and at once if
        another session holds a run and the option `skip` is not set.
        """
        options = options or {}
        try:
            reply: TurnReply = self.ask(
                "select pgflow.turn(%s::uuid, %s::jsonb, %s::text[], %s::int,"
                " make_interval(secs => %s), %s::text[], %s::jsonb)",
                [
                    worker,
                    f"[{','.join(results)}]",
                    list(queues),
                    quantity,
                    lease,
                    list(refused),
                    json.dumps(options),
                ],
                tries=tries,
                unless="" if "skip" in options else LOCK_TIMEOUT,
            )
        except (Refused, SchemaMismatch, Unavailable):
            raise
        except PgflowError as error:  # about a row, and no answer to this worker
            raise Refused(error.message, sqlstate="PF000") from error
        return reply

    def wind(self, worker: str) -> TimersReply:
        """Run the timers that are due, and claim nothing."""
        reply: TimersReply = self.ask("select pgflow.wind(%s::uuid)", [worker])
        return reply

    def heartbeat(
        self, worker: str, lease: float, tasks: Sequence[Mapping[str, Json]]
    ) -> dict[str, list[dict[str, Any]]]:
        """Extend leases; return {lost, stop}."""
        reply: dict[str, list[dict[str, Any]]] = self.ask(
            "select pgflow.heartbeat(%s::uuid, make_interval(secs => %s), %s::jsonb)",
            [worker, lease, json.dumps(tasks)],
        )
        return reply

    def owned_tasks(self, worker: str) -> list[dict[str, Any]]:
        """Return the references of the tasks that a worker has claimed and not yet reported."""
        return self.ask("select pgflow.owned_tasks(%s::uuid)", [worker]) or []

    def sweep(self, limit: int = 1000) -> int:
        """Repair inconsistent rows; return the number of repairs."""
        return int(self.ask("select pgflow.sweep(%s::int)", [limit]))

    # Time

    def set_clock(self, moment: str) -> None:
        """Set the time that the engine reads on this connection, of a test database."""
        self.ask("select pgflow.set_clock(%s::timestamptz)", [moment])

    def next_wake(self) -> datetime | None:
        """Return the time at which the next message of a test database becomes visible."""
        moment: datetime | None = self.ask("select pgflow.next_wake()", [])
        return moment


def _request() -> str:
    """Return the id of a request: sent again after a lost reply, it gets the first answer."""
    return str(uuid4())
