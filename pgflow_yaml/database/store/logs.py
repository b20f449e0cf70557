"""The calls about what handlers print and log: one method for each SQL function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypedDict

from pgflow_yaml.database.store.calls import Calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.logs import LogFilter, LogRow


class LogReply(TypedDict):
    """The reply of `pgflow.run_logs`."""

    status: str
    last: int | None
    rows: list[LogRow]


class LogCalls(Calls):
    """Write and read logs."""

    def write_logs(self, worker: str, logs: Mapping[str, Json]) -> None:
        """Store lines and progress of calls that go on."""
        self.ask(
            "select pgflow.write_logs(%s::uuid, %s::jsonb)", [worker, json.dumps(logs)], tries=1
        )

    def run_logs(
        self,
        run_id: str,
        chosen: LogFilter,
        *,
        after: int | None = None,
        seen: Sequence[int] = (),
        limit: int = 1000,
    ) -> LogReply | None:
        """Return rows of a run's log: the newest, or with `after` the next; None: no such run."""
        reply: LogReply | None = self.ask(
            "select pgflow.run_logs(%s::uuid, %s::text[], %s::int, %s::int, %s, %s::text[],"
            " make_interval(secs => %s), %s::bigint, %s::bigint[], %s::int)",
            [
                run_id,
                None if chosen.steps is None else list(chosen.steps),
                chosen.index,
                chosen.attempt,
                chosen.failed,
                chosen.levels,
                chosen.since,
                after,
                list(seen),
                limit,
            ],
        )
        return reply
