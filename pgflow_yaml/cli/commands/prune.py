"""Act: delete old runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, optional_seconds, pass_options

if TYPE_CHECKING:
    from pgflow_yaml.client import Pruned
    from pgflow_yaml.language.model import Json


@command("prune", example="pgflow-yaml prune --dry-run")
@click.option(
    "--older-than", metavar="AGE", help="Instead of the retention: 7d, for runs that ended before."
)
@click.option("--flow", help="Only runs of this flow.")
@click.option("--archives", metavar="AGE", help="Instead: archived messages of pgflow's flows.")
@click.option("--dry-run", is_flag=True, help="Print the numbers, delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_options
def prune_command(
    options: Options,
    *,
    older_than: str | None,
    flow: str | None,
    archives: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete ended runs that are older than the retention of their flow.

    Workers do the same about every ten minutes. A run goes with its child runs; live runs stay.
    With --older-than, runs that are kept for ever (`retention: off`) go only if --flow names their
    flow. It goes slowly, to leave the database to others.
    """
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.lookup import must_be_flow
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.text import plural

    age = optional_seconds(older_than, "--older-than")
    archived = optional_seconds(archives, "--archives")
    if archived is not None and (age is not None or flow is not None):
        raise click.UsageError("--archives goes with --dry-run and --yes alone: it deletes no runs")
    with database(options) as client:
        if flow is not None:
            must_be_flow(client.list_flows(counts=False), flow)
        if archived is not None:
            if not (dry_run or yes):
                count = sum(client.prune_archives(archived, dry_run=True).values())
                _confirm(plural(count, "archived message") if count else "")
            messages = client.prune_archives(archived, dry_run=dry_run)
            result: dict[str, Json] = {"messages": dict(messages)}
            text = plural(sum(messages.values()), "archived message") if messages else ""
        else:
            if age is not None and not (dry_run or yes):
                _confirm(_words(client.prune(flow=flow, older_than=age, dry_run=True)))
            note = _Once(options)
            pruned = client.prune(flow=flow, older_than=age, dry_run=dry_run, on_busy=note)
            result, text = pruned.as_json(), _words(pruned)
    if options.json:
        write_json(result)
    elif text:
        sys.stdout.write(f"{'would delete' if dry_run else 'deleted'} {text}\n")
    else:
        sys.stdout.write("nothing is old enough\n")


class _Once:
    """Says once that another pass is going on."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._said = False

    def __call__(self) -> None:
        if not self._said:
            self._options.note("somebody else prunes at the moment; waiting for the end of that")
        self._said = True


def _confirm(text: str) -> None:
    """Ask before what is listed goes; without a terminal nobody can be asked."""
    if not text:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"this would delete {text}; add --yes, or --dry-run to look only")
    click.confirm(f"delete {text}?", abort=True, err=True)


def _words(pruned: Pruned) -> str:
    """Format what was deleted: `12 runs of order, 3 of audit; 60 tasks`; empty for nothing."""
    from pgflow_yaml.text import plural

    parts = [
        f"{plural(count, 'run') if number == 0 else format(count, ',')} of {flow}"
        for number, (flow, count) in enumerate(pruned.runs.items())
    ]
    words = [", ".join(parts)] if parts else []
    for count, noun in (
        (pruned.tasks, "task"),
        (pruned.workers, "worker"),
        (pruned.versions, "version"),
        (pruned.audit, "audit record"),
    ):
        if count:
            words.append(plural(count, noun))
    return "; ".join(words)
