"""Start runs and look at them, from any Python program."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from pgflow_yaml.client.given import as_json, batches, check_input, input_text, input_texts
from pgflow_yaml.client.runs import Run, StepState, run_of
from pgflow_yaml.database.store import Store
from pgflow_yaml.errors import NotFound, PgflowError, RunCancelled, RunFailed, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pgflow_yaml.database.store.connection import JoinedConnection
    from pgflow_yaml.language.model import Definition, Json
    from pgflow_yaml.runs.snapshot import Snapshot
    from pgflow_yaml.worker.calls import SecretProvider

__all__ = ["Client", "Run", "StepState"]

_FIRST_LOOK, _LONGEST_LOOK = 0.05, 1.0


class Client:
    """A connection to the database of the flows; usable from several threads, one at a time."""

    def __init__(
        self,
        conninfo: str = "",
        *,
        on_lost: Callable[[], None] | None = None,
        patience: float = 5.0,
        notify: bool = True,
    ) -> None:
        """An empty conninfo leaves everything to libpq's own variables.

        `patience` is for how many seconds a lost connection is tried again; `on_lost` is called
        before each of these attempts. With `notify`, idle workers are woken after a start.
        """
        self._notify = notify
        self._conninfo = conninfo
        self._on_lost = on_lost
        self._store = Store(conninfo, name="pgflow-yaml client", patience=patience, on_lost=on_lost)

    def close(self) -> None:
        """Disconnect."""
        self._store.close()

    def __enter__(self) -> Self:
        """Connect at the first call."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.close()

    # Flows

    def deploy(
        self, definition: Definition, *, git: Json = None, activate: bool = True
    ) -> dict[str, Any]:
        """Store a version of a flow and make it the active one; nothing is written if it is that.

        Returns {name, version, flow_slug, status, active}.
        """
        return self._store.deploy(definition, git=git, activate=activate)

    def activate(self, name: str, version: str) -> dict[str, Any]:
        """Go back, or on, to a stored version; a unique beginning of it is enough."""
        return self._store.activate(name, version)

    def list_flows(self) -> list[dict[str, Any]]:
        """The flows in the database."""
        return self._store.list_flows()

    def list_versions(self, name: str) -> list[dict[str, Any]]:
        """The versions of a flow, newest first."""
        return self._store.list_versions(name)

    def get_definition(self, name: str, version: str | None = None) -> dict[str, Any] | None:
        """A stored version (the active one by default) with its source, or None."""
        return self._store.get_definition(name, version)

    # Runs

    def start(
        self,
        name: str,
        input: Mapping[str, Json] | Json = None,  # noqa: A002 (the language's word)
        *,
        key: str | None = None,
        version: str | None = None,
        labels: Mapping[str, str] | None = None,
        conn: JoinedConnection | None = None,
    ) -> Run:
        """Start a run; with a `key`, a second start gives the first run.

        `conn` is a psycopg connection of yours: the start is then part of its transaction, and no
        worker is woken (see `wake`).
        """
        started = self.start_run(name, input, key=key, version=version, labels=labels, conn=conn)
        run_id = started["run_id"]
        return run_of(_found(self._store.run_snapshot(run_id, connection=conn), run_id))

    def start_run(
        self,
        name: str,
        input: Mapping[str, Json] | Json = None,  # noqa: A002 (the language's word)
        *,
        key: str | None = None,
        version: str | None = None,
        labels: Mapping[str, str] | None = None,
        conn: JoinedConnection | None = None,
    ) -> dict[str, Any]:
        """Start a run without looking at it: {run_id, flow, version, status, created}."""
        given = as_json(input)
        text = input_text(given)
        found = self._store.get_definition(name, version, connection=conn)
        if found is not None:
            check_input(found["definition"], given)
            version = found["version"]
        started = self._store.start_run(
            name, text, key=key, version=version, labels=labels, connection=conn
        )
        if conn is None and started["created"]:
            self.wake()
        return started

    def start_many(
        self,
        name: str,
        inputs: Iterable[Mapping[str, Json] | Json],
        *,
        version: str | None = None,
        conn: JoinedConnection | None = None,
    ) -> list[str]:
        """Start a run for each input; their ids in that order.

        All inputs are checked first: a wrong one starts nothing. They start in batches, each in
        one commit; with `conn`, all of them in its transaction.
        """
        found = self._store.get_definition(name, version, connection=conn)
        texts = input_texts(inputs, None if found is None else found["definition"])
        if found is not None:
            version = found["version"]  # a deploy in the middle does not divide them
        ids: list[str] = []
        for batch in batches(texts):
            try:
                ids += self._store.start_runs(name, batch, version=version, connection=conn)
            except Unavailable as error:
                if not ids:
                    raise
                raise Unavailable(f"after {len(ids)} of {len(texts)} runs: {error}") from error
            if conn is None:
                self.wake()
        return ids

    def wake(self) -> None:
        """Wake idle workers: for after the commit of a transaction that a call joined (`conn`).

        Calls without `conn` do it themselves. Nothing depends on it: workers also look by
        themselves, at least once a second unless told otherwise.
        """
        if self._notify:
            self._store.wake()

    # What is said to runs that wait. RUN is an id, or the key of the start; the first word stands.

    def send(
        self,
        run: str,
        event: str,
        data: Json = None,
        *,
        by: str | None = None,
        conn: JoinedConnection | None = None,
    ) -> dict[str, Any]:
        """Send an event to a run: {run_id, event, steps, stored, already}.

        `steps` are those that it completed, each with `data` as its output; `stored`: none waits
        for it yet; `already`: an earlier one stands, nothing has changed. `by` says who sends it
        (else the database's user); `conn` is as for `start`.
        """
        text = input_text(data)
        said = self._store.send_event(run, event, data_text=text, by=by, connection=conn)
        return self._woken(said, conn)

    def approve(
        self,
        run: str,
        step: str,
        comment: str | None = None,
        *,
        by: str | None = None,
        conn: JoinedConnection | None = None,
    ) -> dict[str, Any]:
        """Approve a step that waits for an event: {run_id, step, status, applied, by, at}.

        `status` is the decision that stands, `applied` whether it is this one. It may come before
        the step waits.
        """
        said = self._store.approve_step(run, step, comment=comment, by=by, connection=conn)
        return self._woken(said, conn)

    def reject(
        self,
        run: str,
        step: str,
        comment: str | None = None,
        *,
        by: str | None = None,
        conn: JoinedConnection | None = None,
    ) -> dict[str, Any]:
        """Reject a step that waits for an event: it fails (`Rejected`). Otherwise as `approve`."""
        said = self._store.reject_step(run, step, comment=comment, by=by, connection=conn)
        return self._woken(said, conn)

    def _woken(self, said: dict[str, Any], conn: JoinedConnection | None) -> dict[str, Any]:
        if conn is None:
            self.wake()
        return said

    def get(self, run_id: str) -> Run:
        """A run as it is now; raises NotFound."""
        return run_of(self.run_snapshot(run_id))

    def wait(self, run_id: str, timeout: float | None = None) -> Run:
        """Return the completed run; raises RunFailed, RunCancelled or TimeoutError."""
        return self._wait(run_id, timeout, check=lambda: None)

    def _wait(self, run_id: str, timeout: float | None, *, check: Callable[[], None]) -> Run:
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_LOOK
        while not (run := self.get(run_id)).ended:
            check()
            left = _LONGEST_LOOK if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"run {run_id} has not ended within {timeout:g} s; it goes on")
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_LOOK)
        if run.status == "failed":
            error = dict(run.error or {})
            step = error.get("step")
            raise RunFailed(run=run_id, step=str(step) if step else None, error=error)
        if run.status == "cancelled":
            raise RunCancelled(run=run_id)
        return run

    def run(
        self,
        flow: str,
        input: Mapping[str, Json] | Json = None,  # noqa: A002 (the language's word)
        *,
        app_dir: Path | None = None,
        allow: Sequence[str] = (),
        secrets: str | Path | SecretProvider | None = None,
        timeout: float | None = None,
    ) -> Run:
        """Start a run, work for its flow in this process until it ends; returns as `wait` does."""
        from concurrent.futures import ThreadPoolExecutor

        from pgflow_yaml.worker import Worker

        started = self.start_run(flow, input)
        worker = Worker(
            self._conninfo,
            queues=self._store.queues_of(flow, started["version"]),
            app_dir=app_dir,
            allow=allow,
            secrets=secrets,
            on_lost=self._on_lost,
            notify=self._notify,
        )
        with ThreadPoolExecutor(1, thread_name_prefix="pgflow-worker") as threads:
            working = threads.submit(worker.run)

            def still_working() -> None:
                if working.done():
                    working.result()  # raises what ended the worker
                    raise PgflowError("the worker has ended before the run did")

            try:
                return self._wait(started["run_id"], timeout, check=still_working)
            finally:
                worker.stop(now=True)

    def cancel(self, run_id: str, reason: str | None = None) -> dict[str, Any]:
        """Cancel a run: {run_id, status, cancelled}; one that has ended stays as it is."""
        return self._store.cancel_run(_checked_id(run_id), reason)

    def list_runs(
        self,
        *,
        flow: str | None = None,
        status: str | None = None,
        since: float | None = None,
        limit: int = 20,
        labels: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """Runs, newest first.

        `since`: only those created in the last so many seconds; `labels`: that have all of these.
        """
        return self._store.list_runs(
            flow=flow, status=status, since=since, limit=limit, labels=labels
        )

    def find_run(self, text: str) -> list[str]:
        """The ids of the runs that a text may mean: an id, its beginning, a key, or `last`."""
        return self._store.find_run(text)

    def run_snapshot(
        self, run_id: str, *, items: bool = False, after_error: int = 0, outputs: bool = True
    ) -> Snapshot:
        """Everything about a run, in the shape of `show --json`; raises NotFound."""
        found = self._store.run_snapshot(
            _checked_id(run_id), items=items, after_error=after_error, outputs=outputs
        )
        return _found(found, run_id)


def _found(snapshot: Snapshot | None, run_id: str) -> Snapshot:
    if snapshot is None:
        raise _no_run(run_id)
    return snapshot


def _checked_id(run_id: str) -> str:
    try:
        return str(UUID(run_id))
    except ValueError:
        raise _no_run(run_id) from None


def _no_run(run_id: str) -> NotFound:
    return NotFound(f"there is no run {run_id} in this database")
