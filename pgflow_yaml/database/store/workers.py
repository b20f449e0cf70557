"""The calls of workers: one method for each SQL function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, LiteralString, NotRequired, TypedDict

from pgflow_yaml.database.store.calls import Calls
from pgflow_yaml.database.store.errors import Refused
from pgflow_yaml.errors import PgflowError, SchemaMismatch, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pgflow_yaml.language.model import Json

LOCK_TIMEOUT = "55P03"
"""The SQLSTATE of a statement that has waited for a lock as long as it may."""
LONGEST_LEASE = 86_400.0
"""The longest lease that the database gives, in seconds; the shortest is one second."""
TURN: LiteralString = (
    "select pgflow.turn(%s::uuid, %s::jsonb, %s::text[], %s::int,"
    " make_interval(secs => %s), %s::text[], %s::jsonb)"
)


class EndShape(TypedDict):
    """The end of a run, or a step that failed for good."""

    run: str
    flow: str
    step: NotRequired[str]
    status: str
    error: NotRequired[dict[str, Any]]


class DueSchedule(TypedDict):
    """A schedule whose next tick has come, or is not known yet."""

    flow: str
    name: str
    spec: dict[str, Any]
    tick: str | None
    catchup: str
    now: str


class TimersReply(TypedDict, total=False):
    """The reply of `pgflow.wind`, and a part of that of `pgflow.turn`."""

    ended: list[EndShape]
    next_ms: int | None
    timers: int
    timer_errors: list[dict[str, Any]]
    schedules: list[DueSchedule]


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


class WorkerCalls(Calls):
    """Take turns, keep leases and repair."""

    def work_waiting(self, queues: Sequence[str] | None) -> int:
        """Return the number of tasks and timers that could begin now, 10,000 at most."""
        waiting: int = self.ask("select pgflow.work_waiting(%s::text[])", [queues])
        return waiting

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
                TURN,
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

    def gauges(self, worker: str) -> dict[str, Any] | None:
        """Return the numbers of queues, runs and workers; None if another worker of its host asks.

        Keys: queues, runs, workers, oldest_transaction (seconds).
        """
        reply: dict[str, Any] | None = self.ask("select pgflow.gauges(%s::uuid)", [worker])
        return reply

    def take_spans(self, worker: str, pause: float) -> list[dict[str, Any]]:
        """Return the spans of traced runs and steps that have ended; each is given once.

        Only of runs at which nobody has looked for `pause` seconds.
        """
        query = "select pgflow.take_spans(%s::uuid, make_interval(secs => %s))"
        return self.ask(query, [worker, pause]) or []

    def set_clock(self, moment: str) -> None:
        """Set the time that the engine reads on this connection, of a test database."""
        self.ask(*set_clock(moment))

    def next_wake(self) -> datetime | None:
        """Return the time at which the next message of a test database becomes visible."""
        moment: datetime | None = self.ask("select pgflow.next_wake()", [])
        return moment


def set_clock(moment: str) -> tuple[LiteralString, list[object]]:
    """Return the statement that sets the time of a connection to a test database."""
    return "select pgflow.set_clock(%s::timestamptz)", [moment]
