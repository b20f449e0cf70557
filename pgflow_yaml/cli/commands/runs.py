"""Watch and repair: list runs, the newest first."""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.options import Options, command, label_option, pass_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.cli.output import CellsOf

STATUSES = ("started", "completed", "failed", "cancelled")
RUNS_SHOWN = 20


@command("runs", example="pgflow-yaml runs --status completed --since 2h")
@click.option("--flow", metavar="NAME", help="Only runs of this flow.")
@click.option("--status", type=click.Choice(STATUSES), help="Only runs with this status.")
@label_option("-l", "--label", text="Only runs with this label (repeated: with all of them).")
@click.option(
    "--since", metavar="TIME", help="Only runs created within this time, such as 30m, 2h or 7d."
)
@click.option(
    "-n",
    "limit",
    type=click.IntRange(1, 10_000),
    default=RUNS_SHOWN,
    show_default=True,
    help="Maximum number of runs.",
)
@click.option("--all", "children", is_flag=True, help="Also list child runs.")
@pass_options
def runs_command(
    options: Options,
    *,
    flow: str | None,
    status: str | None,
    labels: Mapping[str, str],
    since: str | None,
    limit: int,
    children: bool,
) -> None:
    """List runs, the newest first: those without a parent, or all of them."""
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.lookup import must_be_flow
    from pgflow_yaml.cli.options import optional_seconds
    from pgflow_yaml.cli.output import write_list

    age = optional_seconds(since, "--since")
    with database(options) as client:
        find = partial(client.list_runs, flow=flow, status=status, since=age, labels=labels)
        runs = [row.as_json() for row in find(limit=limit, children=children)]
        if flow is not None and not runs:
            must_be_flow(client.list_flows(), flow)
        if not runs and not children and find(limit=1, children=True):
            options.note("only child runs match: --all lists them")
    write_list(runs, _run_columns(), options)


def _run_columns() -> list[CellsOf]:
    from pgflow_yaml.cli.output import Column, when
    from pgflow_yaml.text import labels_text

    return [
        (Column("RUN"), lambda run: run["id"][:8]),
        (Column("FLOW", flexible=True, spare=0), itemgetter("flow")),
        (Column("STATUS"), _status_of_run),
        (Column("STEPS", right=True), lambda run: "{done}/{total}".format(**run["steps"])),
        (Column("CREATED"), lambda run: when(run["created_at"])),
        (Column("TOOK", right=True), _took),
        (Column("KEY", flexible=True), lambda run: run["key"] or ""),
        (
            Column("PARENT", flexible=True),
            lambda run: run["parent"]["id"][:8] if run["parent"] else "",
        ),
        (Column("LABELS", flexible=True), lambda run: labels_text(run["labels"])),
        (Column("ERROR", flexible=True), _error),
    ]


def _status_of_run(run: Mapping[str, Any]) -> str:
    """Return the status of a run, `stopping` if it goes on although its outcome is known."""
    return "stopping" if run["status"] == "started" and run["outcome"] else str(run["status"])


def _error(run: Mapping[str, Any]) -> str:
    from pgflow_yaml.runs.run import run_error

    return run_error(run["outcome"] or run["status"], run["error"])


def _took(run: Mapping[str, Any]) -> str:
    from pgflow_yaml.text import duration, moment

    if not run["ended_at"]:
        return ""
    return duration((moment(run["ended_at"]) - moment(run["created_at"])).total_seconds())
