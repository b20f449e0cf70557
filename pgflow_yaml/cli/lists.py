"""Commands that list: `runs`, `flows`, `versions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STATUSES = ("started", "completed", "failed", "cancelled")
RUNS_SHOWN = 20


@command("runs", example="pgflow-yaml runs --status completed --since 2h")
@click.option("--flow", metavar="NAME", help="Only runs of this flow.")
@click.option("--status", type=click.Choice(STATUSES), help="Only runs with this status.")
@click.option("--since", metavar="TIME", help="Only runs created in the last 30m, 2h, 7d.")
@click.option(
    "-n",
    "limit",
    type=click.IntRange(1, 10_000),
    default=RUNS_SHOWN,
    show_default=True,
    help="At most so many.",
)
@pass_options
def runs_command(
    options: Options, *, flow: str | None, status: str | None, since: str | None, limit: int
) -> None:
    """List runs, the newest first."""
    from .arguments import optional_seconds
    from .database import connected
    from .finding import must_be_flow
    from .output import write_json

    age = optional_seconds(since, "--since")
    with connected(options) as store:
        found = store.list_runs(flow=flow, status=status, since=age, limit=limit)
        if flow is not None and not found:
            must_be_flow(store.list_flows(), flow)
    if options.json:
        write_json(found)
    else:
        _write_runs(found, options)


def _write_runs(found: Sequence[Mapping[str, Any]], options: Options) -> None:
    from .output import Column, when, write_table

    columns = [
        Column("RUN"),
        Column("FLOW", flexible=True),
        Column("STATUS"),
        Column("STEPS", right=True),
        Column("CREATED"),
        Column("TOOK", right=True),
        Column("KEY", flexible=True),
        Column("ERROR", flexible=True),
    ]
    rows = [
        [
            each["id"][:8],
            each["flow"],
            each["status"],
            f"{each['steps']['completed']}/{each['steps']['total']}",
            when(each["created_at"]),
            _took(each),
            each["key"] or "",
            _error(each["error"]),
        ]
        for each in found
    ]
    write_table(columns, rows, options)


@command("flows", example="pgflow-yaml flows")
@pass_options
def flows_command(options: Options) -> None:
    """List the flows in the database."""
    from .database import connected
    from .output import Column, when, write_json, write_table

    with connected(options) as store:
        found = store.list_flows()
    if options.json:
        write_json(found)
        return
    columns = [
        Column("FLOW"),
        Column("ACTIVE"),
        Column("VERSIONS", right=True),
        Column("RUNS", flexible=True),
        Column("DEPLOYED"),
        Column("DESCRIPTION", flexible=True),
    ]
    rows = [
        [
            each["name"],
            each["version"] or "none",
            str(each["versions"]),
            _counts(each["runs"]),
            when(each["deployed_at"]),
            each["description"] or "",
        ]
        for each in found
    ]
    write_table(columns, rows, options)


@command("versions", example="pgflow-yaml versions hello")
@click.argument("flow")
@pass_options
def versions_command(options: Options, *, flow: str) -> None:
    """List the versions of a flow, the newest first."""
    from .database import connected
    from .finding import must_be_flow
    from .output import Column, when, write_json, write_table

    with connected(options) as store:
        must_be_flow(store.list_flows(), flow)
        found = store.list_versions(flow)
    if options.json:
        write_json(found)
        return
    columns = [
        Column("VERSION"),
        Column("ACTIVE"),
        Column("RUNS", flexible=True),
        Column("CREATED"),
        Column("BY"),
    ]
    rows = [
        [
            each["version"],
            "active" if each["active"] else "",
            _counts(each["runs"]),
            when(each["created_at"]),
            each["created_by"] or "",
        ]
        for each in found
    ]
    write_table(columns, rows, options)


def _counts(runs: Mapping[str, int]) -> str:
    """Say how many runs stand where, without those that are none."""
    parts = [
        f"{runs[status]:,} {'running' if status == 'started' else status}"
        for status in STATUSES
        if runs[status]
    ]
    return ", ".join(parts) or "none"


def _took(run: Mapping[str, Any]) -> str:
    from .words import duration, moment

    if not run["ended_at"]:
        return ""
    return duration((moment(run["ended_at"]) - moment(run["created_at"])).total_seconds())


def _error(error: Mapping[str, Any] | None) -> str:
    return (
        ": ".join(str(error[key]) for key in ("type", "message") if error.get(key)) if error else ""
    )
