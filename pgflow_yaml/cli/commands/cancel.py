"""Act: cancel runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.bulk import MOST_RUNS, agreed, each_run
from pgflow_yaml.cli.failures import BAD
from pgflow_yaml.cli.options import Options, command, pass_options
from pgflow_yaml.cli.run_filters import OF_RUNS, read_filters, run_filters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.client import Client, RunSummary

LIVE = ("started", "waiting")


@command("cancel", example='pgflow-yaml cancel last --reason "wrong order"')
@click.argument("runs", metavar="[RUN...]", nargs=-1)
@click.option("--reason", help="Kept with the run.")
@run_filters()
@click.option(
    "-n",
    "limit",
    type=click.IntRange(1, MOST_RUNS),
    default=MOST_RUNS,
    show_default=True,
    help="With filters: maximum number of runs.",
)
@click.option("--yes", is_flag=True, help="With filters: cancel without a question.")
@pass_options
def cancel_command(
    options: Options,
    /,
    *,
    runs: Sequence[str],
    reason: str | None,
    limit: int,
    yes: bool,
    **given: Any,
) -> int:
    """Cancel runs; one that has ended stays as it is.

    A run with `finally` steps is stopped, and ends when these have run; one that has only these
    left keeps its outcome. Cancelled again, a run ends at once, with its child runs.

    RUN is an id, the beginning of one, a key, or "last". Without RUN, the filters choose among the
    runs that go on and are not stopping, as in `runs`; they are listed first.
    """
    from pgflow_yaml.cli.database import database, with_runs
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.client.outcomes import cancelled

    _check(runs, given)
    if runs:
        # All runs are looked up before one is cancelled: with a typo, none is.
        with with_runs(options, runs) as named:
            results = [client.cancel(run, reason) for client, run in dict.fromkeys(named)]
        refused = 0
    else:
        with database(options) as client:
            found = _find(client, given, limit, options)
            chosen = [run.id for run in found]
            if chosen and not agreed("cancel", chosen, options, yes=yes):
                return BAD
            done = each_run(chosen, lambda run: client.cancel(run, reason), options)
            results = [result for _, result, _ in done if result is not None]
            refused = len(done) - len(results)
    if options.json:
        write_json([result.as_json() for result in results])
    else:
        for result in results:
            sys.stdout.write(f"{result.run_id}  {cancelled(result)}\n")
    return BAD if refused else 0


def _check(runs: Sequence[str], given: Mapping[str, Any]) -> None:
    """Raise UsageError unless there are either runs or filters, for runs that go on."""
    filtered = any(given[name] not in (None, {}, False) for name in OF_RUNS if name != "children")
    if runs and (filtered or given["children"]):
        raise click.UsageError("write either RUN or filters")
    if not runs and not filtered:
        raise click.UsageError("write the RUN to cancel, or filters such as --flow NAME")
    if given["status"] not in (None, *LIVE):
        raise click.UsageError(
            f"--status {given['status']}: these runs have ended; write started or waiting"
        )


def _find(
    client: Client, given: Mapping[str, Any], limit: int, options: Options
) -> list[RunSummary]:
    """Return the runs that the filters choose, and list them; those that are stopping stay so."""
    from pgflow_yaml.cli.commands.runs import write_runs
    from pgflow_yaml.text import plural

    filters = read_filters(client, given)
    filters.setdefault("status", "started")
    matching = client.list_runs(limit=limit, **filters)
    found = [run for run in matching if run.outcome is None]
    if not options.json:
        write_runs([run.as_json() for run in found], options)
    if stopping := len(matching) - len(found):
        verb = "stops" if stopping == 1 else "stop"
        options.note(f"left alone: {plural(stopping, 'run')} that {verb} already")
    if len(matching) == limit:
        options.note(f"there may be more: {limit:,} are taken at a time")
    return found
