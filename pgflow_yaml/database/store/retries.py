"""The calls about failed runs: one method for each SQL function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgflow_yaml.database.store.calls import Calls, request_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.runs.filters import FailureFilters


class RetryCalls(Calls):
    """Retry runs; list and drop failed ones."""

    def retry_run(  # noqa: PLR0913 (the arguments of the function)
        self,
        run: str,
        *,
        steps: Sequence[str] = (),
        begin: Sequence[str] = (),
        soft: bool = False,
        input_text: str | None = None,
        version: str | None = None,
        as_new: bool = False,
        by: str | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Retry a run, or say what a retry would do; return the reply of the SQL function."""
        reply: dict[str, Any] = self.ask(
            "select pgflow.retry_run("
            "%s, %s::text[], %s::text[], %s, %s::jsonb, %s, %s, %s, %s::uuid, %s)",
            [
                *(run, list(steps) or None, list(begin) or None, soft, input_text, version),
                *(as_new, by, request_id(), dry_run),
            ],
        )
        return reply

    def list_failed(
        self, filters: FailureFilters, limit: int = 20, runs: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return the failed steps of failed runs that match, the last one first."""
        given = filters.get
        labels = json.dumps(dict(wanted)) if (wanted := filters.get("labels")) else None
        return (
            self.ask(
                "select pgflow.list_failed(%s, %s, %s::jsonb, make_interval(secs => %s), %s, %s,"
                " %s::int, %s::uuid[], make_interval(secs => %s))",
                [
                    *(given("flow"), given("version"), labels, given("since"), given("step")),
                    *(given("error"), limit, None if runs is None else list(runs), given("older")),
                ],
            )
            or []
        )

    def drop_failed(self, run: str, *, by: str | None = None) -> dict[str, Any]:
        """Drop a failed run from the list; return {run_id, dropped}."""
        reply: dict[str, Any] = self.ask("select pgflow.drop_failed(%s, %s)", [run, by])
        return reply
