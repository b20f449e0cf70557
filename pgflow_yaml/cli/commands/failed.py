"""Watch: list, show, retry or drop the failed steps of all runs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import click

from pgflow_yaml.cli.bulk import MOST_RUNS, agreed, each_run
from pgflow_yaml.cli.options import Options, command, pass_options
from pgflow_yaml.cli.run_filters import OF_FAILURES, read_filters, run_filters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgflow_yaml.cli.output import CellsOf
    from pgflow_yaml.client import Client, FailedStep
    from pgflow_yaml.runs.filters import FailureFilters

ACTIONS = ("list", "show", "retry", "drop")
ROWS_SHOWN = 20


@command("failed", example="pgflow-yaml failed --since 24h")
@click.argument("action", type=click.Choice(ACTIONS), default="list", metavar="[ACTION]")
@click.argument("rows", nargs=-1, metavar="[ROW...]")
@run_filters(OF_FAILURES, moment="failed")
@click.option("--step", metavar="STEP", help="Only failures of this step.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, MOST_RUNS),
    help=f"Maximum number of rows. [default: {ROWS_SHOWN}; {MOST_RUNS} to retry or drop]",
)
@click.option("--yes", is_flag=True, help="Retry or drop without a question.")
@pass_options
def failed_command(options: Options, /, **arguments: Any) -> int:
    """List the failed steps of failed runs, the last one first.

    ACTION is `list`, `show ROW` (as `show RUN --step`), `retry` (each of the runs, as `retry RUN`
    does) or `drop`: the runs stay in the database, but are listed here no more.

    ROW is RUN/STEP as in the list, or RUN; without rows, all that match are meant. A failed child
    run is a failed step of its parent.
    """
    from pgflow_yaml.cli.database import database, rows
    from pgflow_yaml.project.settings import local_settings
    from pgflow_yaml.text import moment

    filters = {name: arguments.pop(name) for name in OF_FAILURES}
    request = Request(**arguments, filters=filters)
    request.check()
    if request.action == "show":
        return _show(request.rows[0], options)
    if request.action == "list":
        failures = rows(
            options,
            lambda client: [row.as_json() for row in _find(client, request)],
            key=lambda row: moment(row["failed_at"]),
            reverse=True,
            limit=request.limit or ROWS_SHOWN,
        )
        _write(failures, options)
        return 0
    first = request.rows[0].partition("/")[0] if request.rows else None
    with database(options, notify=local_settings().notify, run=first) as client:
        return _act(client, _find(client, request), request, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Arguments of `failed`."""

    action: str
    rows: Sequence[str]
    step: str | None
    limit: int | None
    yes: bool
    filters: Mapping[str, Any]

    def check(self) -> None:
        """Raise UsageError for what the action does not take."""
        if self.action == "show" and len(self.rows) != 1:
            raise click.UsageError("`failed show` takes one ROW of the list")
        if self.action == "list" and self.rows:
            raise click.UsageError("`failed list` takes no ROW; `failed show ROW` shows one")


def _find(client: Client, request: Request) -> list[FailedStep]:
    """Return the rows that match; raises NotFound for a row, a flow or a run that is none."""
    from pgflow_yaml.cli.lookup import run_id

    chosen = {row: run_id(client, row.partition("/")[0]) for row in request.rows}
    changing = request.action != "list"
    filters = cast("FailureFilters", read_filters(client, request.filters))
    filters["step"] = request.step
    return client.failed(
        **filters,
        limit=request.limit or (MOST_RUNS if changing else ROWS_SHOWN),
        runs=sorted(set(chosen.values())) if chosen else None,
    )


def _act(client: Client, rows: Sequence[FailedStep], request: Request, options: Options) -> int:
    """Retry or drop the runs of the rows; return the exit code."""
    from pgflow_yaml.cli.decisions import user
    from pgflow_yaml.cli.failures import BAD
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.text import plural

    runs = list(dict.fromkeys(row.run_id for row in rows))
    if not options.json:
        _write([row.as_json() for row in rows], options)
    if not runs:
        if options.json:
            write_json([])
        return 0
    if not agreed(request.action, runs, options, yes=request.yes):
        return BAD
    retrying = request.action == "retry"
    change: Callable[..., object] = client.retry if retrying else client.drop_failed
    results = each_run(runs, partial(change, by=user()), options)
    refused = sum(error is not None for _, _, error in results)
    if options.json:
        write_json(
            [{"run_id": run, "done": error is None, "error": error} for run, _, error in results]
        )
    else:
        words = "retried" if retrying else "dropped"
        rest = f", {refused:,} refused" if refused else ""
        sys.stdout.write(f"{words} {plural(len(runs) - refused, 'run')}{rest}\n")
    if retrying and refused < len(runs):
        options.note("workers run them: `pgflow-yaml worker --burst`, unless one is there")
    return BAD if refused else 0


def _show(row: str, options: Options) -> int:
    """Show a row as `show RUN --step STEP` does."""
    from pgflow_yaml.cli.commands.show import show_command

    run, _, step = row.partition("/")
    callback: Callable[..., Any] = show_command.callback  # type: ignore[assignment]
    context = click.get_current_context()
    context.obj = options
    context.invoke(callback, run=run, step=step or None, item=None, why=False, items=False)
    return 0


def _write(rows: Sequence[Mapping[str, Any]], options: Options) -> None:
    from pgflow_yaml.cli.output import write_list

    write_list(rows, _columns(), options)


def _columns() -> list[CellsOf]:
    from pgflow_yaml.cli.output import Column, when
    from pgflow_yaml.text import error_text

    return [
        (Column("ROW"), lambda row: row["run_id"][:8] + (f"/{row['step']}" if row["step"] else "")),
        (Column("FLOW", flexible=True, spare=0), lambda row: row["flow"]),
        (Column("ERROR", flexible=True, spare=0), error_text),
        (Column("ATTEMPTS", right=True), lambda row: str(row["attempts"] or "")),
        (Column("ITEMS", flexible=True), lambda row: str(row["items"] or "")),
        (Column("WORKER", flexible=True, spare=2), lambda row: row["worker"] or ""),
        (Column("WHEN"), lambda row: when(row["failed_at"])),
    ]
