"""Check of the schedules: whether ticks start their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.database.health.findings import Finding, Seen
from pgflow_yaml.text import one_line, plural, roughly

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from pgflow_yaml.database.health.inspector import Inspector


def schedules(ask: Inspector) -> Seen:
    """Look for schedules that are late, that start nothing, or that somebody has paused."""
    rows = ask.row("select pgflow.list_schedules() as rows")["rows"]
    findings = [finding for row in rows for finding in _findings(row)]
    return Seen(summary=f"{plural(len(rows), 'schedule')}, none is late", findings=tuple(findings))


def _findings(row: Mapping[str, Any]) -> Iterator[Finding]:
    subject = f'schedule "{row["name"]}" of flow {row["flow"]}'
    if row["paused_at"] is not None:
        message = f"{subject} is paused by {one_line(row['paused_by'])}"
        fix = f"pgflow-yaml resume {row['flow']}"
        yield Finding(severity="warning", message=message, fix=fix)
    elif row["late_seconds"] is not None:
        alive = row["served"]
        who = "although a worker is alive" if alive else "for no worker is alive"
        fix = "the logs of the workers say why" if alive else "pgflow-yaml worker"
        late = f"{subject} is late by {roughly(row['late_seconds'])}, {who}"
        yield Finding(message=late, fix=fix)
    if row["problem"] is not None:
        message = f"the last tick of {subject} started nothing: {row['problem']['message']}"
        fix = (
            f"change the schedule or the input of the flow, then pgflow-yaml backfill {row['flow']}"
        )
        yield Finding(message=one_line(message), fix=fix)
