"""Act: start the runs of past ticks that have none."""

from __future__ import annotations

import sys

import click

from pgflow_yaml.cli.options import Options, command, pass_options


@command("backfill", example="pgflow-yaml backfill nightly --from 7d")
@click.argument("flow")
@click.option("--from", "since", metavar="TIME", required=True, help="First time: 2026-11-01, 30d.")
@click.option("--to", "until", metavar="TIME", help="Last time. [default: now]")
@click.option(
    "--schedule",
    metavar="NAME",
    help="Only this schedule, named by its text or the beginning of it.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Maximum number of these runs at a time.",
)
@click.option("--again", is_flag=True, help="Start another run for ticks that already have one.")
@click.option("--dry-run", is_flag=True, help="Print the number, start nothing.")
@pass_options
def backfill_command(
    options: Options,
    *,
    flow: str,
    since: str,
    until: str | None,
    schedule: str | None,
    at_once: int,
    again: bool,
    dry_run: bool,
) -> None:
    """Start a run for each past tick of a schedule that has none, oldest first.

    The runs get the input of the schedule, their tick as run.scheduled_at, and the label
    backfill=true. All runs are created at once; at most --at-once of them go on at a time. A
    backfill has at most 10,000 ticks.
    """
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.moments import read_moment
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.project.settings import local_settings
    from pgflow_yaml.text import plural

    first = read_moment(since, "--from", past=True)
    last = None if until is None else read_moment(until, "--to", past=True)
    if last is not None and last < first:
        raise click.UsageError("--from is later than --to")
    with database(options, notify=local_settings().notify, flow=flow) as client:
        done = client.backfill(
            flow,
            first,
            last,
            schedule=schedule,
            at_once=at_once,
            again=again,
            dry_run=dry_run,
        )
    if options.json:
        write_json(done.as_json())
        return
    verb = "would start" if dry_run else "started"
    had = f"; {plural(done.existing, 'tick')} had one" if done.existing else ""
    sys.stdout.write(f"{verb} {plural(done.started, 'run')} of {flow}{had}\n")
