"""A client that starts, reads, steers and lists runs, from any Python program."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from pgflow_yaml.client.deciding import DecisionClient
from pgflow_yaml.client.health import HealthClient
from pgflow_yaml.client.ids import checked_id as _checked_id
from pgflow_yaml.client.ids import no_run as _no_run
from pgflow_yaml.client.inputs import as_json, batches, checked_text, input_text, input_texts
from pgflow_yaml.client.logs import LogClient
from pgflow_yaml.client.pruning import PruneClient
from pgflow_yaml.client.results import (
    Cancelled,
    RunSummary,
    Sent,
    Started,
    row_of,
)
from pgflow_yaml.client.retrying import RetryClient
from pgflow_yaml.client.runs import Run, run_of
from pgflow_yaml.client.schedules import ScheduleClient
from pgflow_yaml.client.tracing import current_trace
from pgflow_yaml.client.views import ViewClient
from pgflow_yaml.client.waiting import wait
from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from pgflow_yaml.database.store.connection import JoinedConnection
    from pgflow_yaml.project.settings import Settings
    from pgflow_yaml.runs.approval_links import Approval
    from pgflow_yaml.runs.filters import RunFilters
    from pgflow_yaml.runs.items import DensityShape
    from pgflow_yaml.runs.snapshot import Snapshot, TaskShape
    from pgflow_yaml.worker import Worker
    from pgflow_yaml.worker.calls import SecretProvider
    from pgflow_yaml.worker.executors.pool import ExecutorFactory

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
GRACE_SECONDS = 30.0


class Client(
    DecisionClient,
    HealthClient,
    LogClient,
    PruneClient,
    RetryClient,
    ScheduleClient,
    ViewClient,
):
    """A connection to the database of flows; usable from several threads, one at a time."""

    # Runs

    def start(
        self,
        name: str,
        input: object = None,  # noqa: A002 (the language's word)
        *,
        key: str | None = None,
        version: str | None = None,
        labels: Mapping[str, str] | None = None,
        at: datetime | None = None,
        debounce: float | None = None,
        conn: JoinedConnection | None = None,
    ) -> Run:
        """Start a run; a second start with the same `key` returns the first run.

        With `at`, a time with an offset, the run is there at once and begins then. With `debounce`
        it begins so many seconds after the last start with its `key`, and with the input of that
        one; once it has begun, the next start makes another run.

        `conn` is a psycopg connection of the caller: the start is then part of its transaction,
        and no worker is woken (see `wake`).
        """
        started = self.start_run(
            name,
            input,
            key=key,
            version=version,
            labels=labels,
            at=at,
            debounce=debounce,
            conn=conn,
        )
        run_id = started.run_id
        return run_of(_snapshot(self._store.run_snapshot(run_id, connection=conn), run_id))

    def start_run(  # noqa: PLR0913 (all that a start may say)
        self,
        name: str,
        input: object = None,  # noqa: A002 (the language's word)
        *,
        key: str | None = None,
        version: str | None = None,
        labels: Mapping[str, str] | None = None,
        at: datetime | None = None,
        debounce: float | None = None,
        trace: str | None = None,
        by: str | None = None,
        conn: JoinedConnection | None = None,
    ) -> Started:
        """Start a run without reading it.

        The current span of OpenTelemetry, if there is one, is the parent of its spans; `trace` is
        another traceparent. With `by`, the audit has the start and this name; not with `debounce`.
        """
        if at is not None and at.tzinfo is None:
            raise ValueError("the time of a start needs an offset, such as that of datetime.UTC")
        if at is not None and debounce is not None:
            raise ValueError("a start has either a time or a debounce")
        run_input = as_json(input)
        input_text(run_input)  # what has no JSON form is refused, whatever the flow
        stored = self._store.get_definition(name, version, connection=conn)
        text = checked_text(None if stored is None else stored["definition"], run_input)
        if stored is not None:
            version = stored["version"]
        trace = trace or current_trace()
        if debounce is None:
            row = self._store.start_run(
                *(name, text),
                key=key,
                version=version,
                labels=labels,
                trace=trace,
                at=at,
                by=by,
                connection=conn,
            )
        else:
            row = self._store.start_debounced(
                *(name, text),
                key=key,
                pause=debounce,
                version=version,
                labels=labels,
                trace=trace,
                connection=conn,
            )
        started = row_of(Started, row)
        if conn is None and started.created:
            self.wake()
        return started

    def start_many(
        self,
        name: str,
        inputs: Iterable[object],
        *,
        version: str | None = None,
        conn: JoinedConnection | None = None,
    ) -> list[str]:
        """Start a run for each input; return their ids in the order of the inputs.

        All inputs are checked first: a wrong one starts nothing. They start in batches, each in
        one commit; with `conn`, all of them in its transaction.
        """
        stored = self._store.get_definition(name, version, connection=conn)
        texts = input_texts(inputs, None if stored is None else stored["definition"])
        if stored is not None:
            # A deploy meanwhile does not split the runs over two versions.
            version = stored["version"]
        ids: list[str] = []
        trace = current_trace()
        for batch in batches(texts):
            try:
                ids += self._store.start_runs(
                    name, batch, version=version, trace=trace, connection=conn
                )
            except Unavailable as error:
                if not ids:
                    raise
                raise Unavailable(f"after {len(ids)} of {len(texts)} runs: {error}") from error
            if conn is None:
                self.wake()
        return ids

    # Events. `run` is an id, or the key of the start.

    def send(
        self,
        run: str,
        event: str,
        data: object = None,
        *,
        by: str | None = None,
        conn: JoinedConnection | None = None,
    ) -> Sent:
        """Send an event to a run; the first event of a name counts.

        `by` names the sender (default: the database's user); `conn` is as for `start`.
        """
        text = input_text(data)
        row = self._store.send_event(run, event, data_text=text, by=by, connection=conn)
        self._wake_unless_joined(conn)
        return row_of(Sent, row)

    def _wake_unless_joined(self, conn: JoinedConnection | None) -> None:
        if conn is None:
            self.wake()

    def get(self, run_id: str) -> Run:
        """Return a run as it is now; raises NotFound."""
        return run_of(self.run_snapshot(run_id))

    def wait(self, run_id: str, timeout: float | None = None) -> Run:
        """Return the completed run; raises RunFailed, RunCancelled or TimeoutError."""
        return wait(lambda: self.get(run_id), timeout)

    def run(
        self,
        flow: str,
        input: object = None,  # noqa: A002 (the language's word)
        *,
        app_dir: Path | None = None,
        allow: Sequence[str] = (),
        secrets: str | Path | SecretProvider | None = None,
        timeout: float | None = None,
    ) -> Run:
        """Start a run and run its tasks in this process until it ends; returns as `wait` does."""
        from pgflow_yaml.worker import Worker
        from pgflow_yaml.worker.background import working

        started = self.start_run(flow, input)
        worker = Worker(
            self.conninfo,
            queues=self._store.run_queues(started.run_id),
            app_dir=app_dir,
            allow=allow,
            secrets=secrets,
            on_lost=self._on_lost,
            notify=self._notify,
        )
        with working(worker) as background:
            return wait(lambda: self.get(started.run_id), timeout, check=background.check)

    def worker(  # noqa: PLR0913 (the settings of a worker)
        self,
        settings: Settings,
        *,
        queues: Sequence[str] | None = None,
        burst: bool = False,
        poll_interval_ms: float = 50,
        max_poll_seconds: float = 1.0,
        checked: bool = False,
        on_ready: Callable[[], None] | None = None,
        names_runs: bool = False,
        metrics: bool = False,
        otel: bool = False,
        executor: str | ExecutorFactory = "thread",
        resources: Mapping[str, float] | None = None,
        grace: float | None = None,
        wake_from: str | int | None = None,
    ) -> Worker:
        """Return a worker with the settings of a project.

        `checked`: it compares the tables. `names_runs`: printed lines begin with the run, too.
        """
        from pgflow_yaml.worker import Worker

        return Worker(
            self.conninfo,
            queues=queues,
            concurrency=settings.concurrency,
            lease_seconds=settings.lease or LEASE_SECONDS,
            app_dir=settings.app_dir,
            allow=settings.allow,
            handlers=settings.handlers,
            notify=settings.notify,
            secrets=settings.secrets,
            on_lost=self._on_lost,
            burst=burst,
            poll_interval_ms=poll_interval_ms,
            max_poll_seconds=max_poll_seconds,
            prepare=self._preparation(checked=checked, on_ready=on_ready),
            logs=settings.logs,
            lead=("run" if names_runs else "step") if settings.prefix else "none",
            metrics=metrics,
            otel=otel,
            executor=executor,
            resources=resources,
            grace_seconds=GRACE_SECONDS if grace is None else grace,
            wake_from=wake_from,
            approval_link=_approval_link(settings.ui_url),
        )

    def run_queues(self, run_id: str) -> list[str]:
        """Return the queues of a run and of its child runs, those to come included."""
        return self._store.run_queues(_checked_id(run_id))

    def served_queues(self) -> list[str]:
        """Return the queues of all deployed flows."""
        return self._store.served_queues()

    def why(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return why each step that a run waits for has not ended; empty for an ended run.

        A run that has not begun has its own reason under `run`. A reason has a `kind` and its
        facts: `{"kind": "no_worker", "queue": "gpu"}`. The kinds are listed in
        docs/how-to/find-out-why.md. Raises NotFound.
        """
        reasons = self._store.run_why(_checked_id(run_id))
        if reasons is None:
            raise _no_run(run_id)
        return reasons

    def task_snapshot(self, run_id: str, step: str, index: int = 0) -> TaskShape | None:
        """Return a task of a step with its arguments; None if the task does not exist yet."""
        return self._store.task_snapshot(_checked_id(run_id), step, index)

    def usual_seconds(self, run_id: str) -> float | None:
        """Return the median seconds of the last runs of the same flow that completed before it.

        There are at most 50 of them; None for fewer than three.
        """
        return self._store.usual_seconds(_checked_id(run_id))

    def run_densities(self, run_id: str) -> dict[str, DensityShape]:
        """Return how many tasks of each step with several ran at once, over its time so far.

        `running` has the numbers in 100 equal parts of the time from `begin` to `end`.
        """
        return self._store.run_densities(_checked_id(run_id))

    def cancel(self, run_id: str, reason: str | None = None, *, by: str | None = None) -> Cancelled:
        """Cancel a run; one that has ended stays as it is.

        A run is stopped, and ends when its `finally` steps and child runs have; one that has only
        these left goes on as it is. A second cancel of the run ends it, and them, at once. `by`
        names who cancels in the audit (default: the database's user).
        """
        row = self._store.cancel_run(_checked_id(run_id), reason, by=by)
        cancelled = row_of(Cancelled, row)
        if cancelled.cancelled and cancelled.status == "cancelled":
            fields = {"run_id": cancelled.run_id, "action": "ended"}
            log.info("run was cancelled", extra=fields)  # as workers log what ends in their turns
        return cancelled

    def list_runs(self, *, limit: int = 20, **filters: Unpack[RunFilters]) -> list[RunSummary]:
        """Return runs, newest first: those that match all of the filters.

        `flow`: of this name. `version`: the beginning of one. `status`: as stored, or `waiting`, a
        started run of which no step has a task for a worker. `since`, `older`: created in the last
        so many seconds, more than so many seconds ago. `labels`: with all of them. `error`: with
        this text in the type or message of its error. `parent`: started by a step of the run with
        this id. `schedule`: started by a tick of a schedule whose name begins so, or by its
        backfill. `children`: also the runs that steps of other runs started.
        """
        return [row_of(RunSummary, row) for row in self._store.list_runs(filters, limit)]

    def find_run(self, text: str) -> list[str]:
        """Return the ids of the runs that a text means.

        It is an id, or `last` for the latest run without a parent, or a key, or else the beginning
        of an id.
        """
        return self._store.find_run(text)

    def run_snapshot(
        self,
        run_id: str,
        *,
        items: bool = False,
        after_error: int = 0,
        outputs: bool = True,
        logs: bool = False,
        run_input: bool = True,
    ) -> Snapshot:
        """Return everything about a run, with the keys of `show --json`; raises NotFound.

        With `logs`, steps that fail have the last lines of their log. Without `run_input` or
        `outputs`, these are None: they may be large, and do not change while somebody watches.
        """
        snapshot = self._store.run_snapshot(
            _checked_id(run_id),
            items=items,
            after_error=after_error,
            outputs=outputs,
            logs=logs,
            run_input=run_input,
        )
        return _snapshot(snapshot, run_id)


def _approval_link(ui_url: str | None) -> Callable[[Approval], str] | None:
    """Return what makes links below the address of the web view; its key is read when needed."""
    if ui_url is None:
        return None
    folder = Path.cwd()  # a handler may go elsewhere

    def link(approval: Approval) -> str:
        from pgflow_yaml.project.link_key import link_key
        from pgflow_yaml.runs.approval_links import approval_url

        return approval_url(ui_url, approval, link_key(folder, os.environ))

    return link


def _snapshot(snapshot: Mapping[str, object] | None, run_id: str) -> Snapshot:
    if snapshot is None:
        raise _no_run(run_id)
    return cast("Snapshot", snapshot)
