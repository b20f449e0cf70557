"""Watch: list runs, the newest first."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.options import Options, command, pass_options
from pgflow_yaml.cli.run_filters import run_filters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.cli.output import CellsOf
    from pgflow_yaml.client import Client

RUNS_SHOWN = 20


@command("runs", example="pgflow-yaml runs --status completed --since 2h")
@run_filters()
@click.option(
    "-n",
    "limit",
    type=click.IntRange(1, 10_000),
    default=RUNS_SHOWN,
    show_default=True,
    help="Maximum number of runs.",
)
@pass_options
def runs_command(options: Options, /, *, limit: int, **given: Any) -> None:
    """List runs, the newest first: those without a parent, or all of them."""
    from pgflow_yaml.cli.database import rows
    from pgflow_yaml.cli.run_filters import read_filters
    from pgflow_yaml.text import moment

    others = False

    def read(client: Client) -> list[dict[str, Any]]:
        nonlocal others
        filters = read_filters(client, given)
        runs = [row.as_json() for row in client.list_runs(limit=limit, **filters)]
        if not runs and not (filters["children"] or filters.get("parent")):
            filters["children"] = True
            others = bool(client.list_runs(limit=1, **filters)) or others
        return runs

    runs = rows(options, read, key=lambda run: moment(run["created_at"]), reverse=True, limit=limit)
    if others and not runs:
        options.note("only child runs match: --all lists them")
    write_runs(runs, options)


def write_runs(runs: Sequence[Mapping[str, Any]], options: Options) -> None:
    """Write a list of runs, as `as_json` returns them."""
    from pgflow_yaml.cli.output import write_list

    write_list(runs, _run_columns(), options)


def _run_columns() -> list[CellsOf]:
    from pgflow_yaml.cli.output import Column, when
    from pgflow_yaml.runs.listed import run_status, run_took, run_trouble
    from pgflow_yaml.text import labels_text

    return [
        (Column("RUN"), lambda run: run["id"][:8]),
        (Column("FLOW", flexible=True, spare=0), itemgetter("flow")),
        (Column("STATUS"), run_status),
        (Column("STEPS", right=True), lambda run: "{done}/{total}".format(**run["steps"])),
        (Column("CREATED"), lambda run: when(run["created_at"])),
        (Column("TOOK", right=True), run_took),
        (Column("KEY", flexible=True), lambda run: run["key"] or ""),
        (
            Column("PARENT", flexible=True),
            lambda run: run["parent"]["id"][:8] if run["parent"] else "",
        ),
        (Column("LABELS", flexible=True), lambda run: labels_text(run["labels"])),
        (Column("ERROR", flexible=True), run_trouble),
    ]
