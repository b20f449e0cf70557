"""The calls about runs: one method for each SQL function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgflow_yaml.database.store.calls import Calls, request_id
from pgflow_yaml.database.store.wake import CHANNEL, wake_ups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pgflow_yaml.database.store.connection import JoinedConnection
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.filters import RunFilters
    from pgflow_yaml.runs.items import DensityShape
    from pgflow_yaml.runs.snapshot import Snapshot, TaskShape


class RunCalls(Calls):
    """Start, signal, end and read runs."""

    def start_run(  # noqa: PLR0913 (all that a start may say)
        self,
        name: str,
        input_text: str,
        *,
        key: str | None = None,
        version: str | None = None,
        labels: Mapping[str, str] | None = None,
        trace: str | None = None,
        at: datetime | None = None,
        by: str | None = None,
        connection: JoinedConnection | None = None,
    ) -> dict[str, Any]:
        """Start a run, to begin `at` a time; return {run_id, flow, version, status, created}.

        With `by`, the audit says who has started it.
        """
        reply: dict[str, Any] = self.ask_in(
            connection,
            "select pgflow.start_run(%s, %s::jsonb, %s, %s, %s::jsonb, %s, %s::timestamptz"
            + (")" if by is None else ", %s)"),
            [
                *(name, input_text, key, version),
                *(json.dumps(dict(labels)) if labels else None, trace, at),
                *([] if by is None else [by]),
            ],
            repeatable=key is not None,
        )
        return reply

    def start_runs(
        self,
        name: str,
        input_texts: Sequence[str],
        *,
        version: str | None = None,
        trace: str | None = None,
        connection: JoinedConnection | None = None,
    ) -> list[str]:
        """Start many runs of a flow in one commit; return their ids in the order of the inputs."""
        reply: list[str] = self.ask_in(
            connection,
            "select coalesce(array_agg(r.id::text order by r.nr), '{}')"
            " from pgflow.start_runs(%s, %s::text[]::jsonb[], %s, %s) with ordinality r(id, nr)",
            [name, list(input_texts), version, trace],
            repeatable=False,
        )
        return reply

    def cancel_run(
        self, run_id: str, reason: str | None = None, *, by: str | None = None
    ) -> dict[str, Any]:
        """Cancel a run; return {run_id, status, outcome, cancelled}."""
        reply: dict[str, Any] = self.ask(
            "select pgflow.cancel_run(%s::uuid, %s, %s::uuid, %s)",
            [run_id, reason, request_id(), by],
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
        reply: dict[str, Any] = self.ask_in(
            connection,
            "select pgflow.send_event(%s, %s, %s::jsonb, %s, %s::uuid)",
            [run, event, data_text, by, request_id()],
        )
        return reply

    def decide_step(
        self,
        run: str,
        step: str,
        *,
        approved: bool,
        comment: str | None = None,
        by: str | None = None,
        data_text: str | None = None,
        groups: Sequence[str] = (),
        connection: JoinedConnection | None = None,
    ) -> dict[str, Any]:
        """Approve or reject a waiting step; return {run_id, step, status, applied, by, at}."""
        reply: dict[str, Any] = self.ask_in(
            connection,
            "select pgflow.approve_step(%s, %s, %s, %s, %s::uuid, %s::jsonb, %s::text[])"
            if approved
            else "select pgflow.reject_step(%s, %s, %s, %s, %s::uuid, %s::jsonb, %s::text[])",
            [run, step, comment, by, request_id(), data_text, list(groups)],
        )
        return reply

    def waiting_events(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the steps that wait for an event, the longest wait first."""
        return self.ask("select pgflow.waiting_events(%s::int)", [limit]) or []

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
        logs: bool = False,
        run_input: bool = True,
        connection: JoinedConnection | None = None,
    ) -> Snapshot | None:
        """Return a run with its steps, and its errors after the one with id `after_error`."""
        reply: Snapshot | None = self.ask_in(
            connection,
            "select pgflow.run_snapshot(%s::uuid, %s, %s::bigint, %s, %s, %s)",
            [run_id, items, after_error, outputs, logs, run_input],
        )
        return reply

    def run_input(self, run_id: str) -> Json:
        """Return the input of a run."""
        reply: Json = self.ask("select pgflow.run_input(%s::uuid)", [run_id])
        return reply

    def list_runs(self, filters: RunFilters, limit: int = 20) -> list[dict[str, Any]]:
        """Return the runs that match, newest first."""
        given = filters.get
        labels = json.dumps(dict(wanted)) if (wanted := filters.get("labels")) else None
        return (
            self.ask(
                "select pgflow.list_runs(%s, %s, make_interval(secs => %s), %s::int, %s::jsonb, %s,"
                " make_interval(secs => %s), %s::uuid, %s, %s, %s)",
                [
                    *(given("flow"), given("status"), given("since"), limit, labels),
                    *(given("children", False), given("older"), given("parent"), given("error")),
                    *(given("version"), given("schedule")),
                ],
            )
            or []
        )

    def run_why(self, run_id: str) -> dict[str, dict[str, Any]] | None:
        """Return the reason of each step that a run waits for; None for an unknown run."""
        reply: dict[str, dict[str, Any]] | None = self.ask(
            "select pgflow.run_why(%s::uuid)", [run_id]
        )
        return reply

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

    def run_densities(self, run_id: str) -> dict[str, DensityShape]:
        """Return how many tasks of each wide step of a run ran at once."""
        reply: dict[str, DensityShape] = self.ask("select pgflow.run_densities(%s::uuid)", [run_id])
        return reply

    def find_run(self, text: str) -> list[str]:
        """Return the ids of the runs that a text may mean, five at most."""
        return self.ask("select pgflow.find_run(%s)", [text]) or []

    def wake(self) -> None:
        """Wake idle workers, as a hint: it never fails and may do nothing."""
        if wake_ups.passes(self.conninfo):
            self.hint("select pg_catalog.pg_notify(%s, '')::text", [CHANNEL])
