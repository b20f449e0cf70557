"""Act: pause schedules or a queue."""

from __future__ import annotations

import sys

import click

from pgflow_yaml.cli.decisions import by_option
from pgflow_yaml.cli.options import Options, command, pass_options


@command("pause", example="pgflow-yaml pause nightly")
@click.argument("flow", required=False)
@click.option(
    "--schedule",
    metavar="NAME",
    help="Only this schedule, named by its text or the beginning of it.",
)
@click.option("--queue", help="Pause this queue instead: workers stop claiming its tasks.")
@by_option
@pass_options
def pause_command(
    options: Options, *, flow: str | None, schedule: str | None, queue: str | None, by: str | None
) -> None:
    """Pause the schedules of a flow: no tick starts a run until `resume`.

    Runs that have started go on, and runs can still be started by hand. With --queue, workers stop
    claiming from the queue within two seconds; running tasks and timers go on.
    """
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.decisions import user
    from pgflow_yaml.cli.output import when, write_json
    from pgflow_yaml.client.outcomes import paused

    check_subject(flow, schedule, queue)
    with database(options, flow=flow) as client:
        if queue is not None:
            rows = [client.pause_queue(queue, by=by or user())]
        else:
            rows = client.pause(flow or "", schedule, by=by or user())
    if options.json:
        write_json(rows if queue is None else rows[0])
        return
    for row in rows:
        sys.stdout.write(f"{paused(row, when)}\n")


def check_subject(flow: str | None, schedule: str | None, queue: str | None) -> None:
    """Refuse a command line that names neither a flow nor a queue, or both."""
    if (flow is None) == (queue is None):
        raise click.UsageError("name a FLOW, or a queue with --queue")
    if queue is not None and schedule is not None:
        raise click.UsageError("--schedule goes with a FLOW, not with --queue")
