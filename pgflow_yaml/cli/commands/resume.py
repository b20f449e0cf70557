"""Act: resume paused schedules or a queue."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.decisions import by_option
from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Catchup


@command("resume", example="pgflow-yaml resume nightly --catchup last")
@click.argument("flow", required=False)
@click.option(
    "--schedule",
    metavar="NAME",
    help="Only this schedule, named by its text or the beginning of it.",
)
@click.option(
    "--catchup",
    type=click.Choice(("none", "last", "all")),
    help="Treat the ticks of the pause as those of an outage. [default: they start nothing]",
)
@click.option("--queue", help="Resume this queue instead: workers claim its tasks again.")
@by_option
@pass_options
def resume_command(
    options: Options,
    *,
    flow: str | None,
    schedule: str | None,
    catchup: Catchup | None,
    queue: str | None,
    by: str | None,
) -> None:
    """Resume the schedules of a flow: the next tick is the first one after now."""
    from pgflow_yaml.cli.commands.pause import check_subject
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.decisions import user
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.client.outcomes import resumed
    from pgflow_yaml.project.settings import local_settings

    check_subject(flow, schedule, queue)
    if queue is not None and catchup is not None:
        raise click.UsageError("--catchup goes with a FLOW, not with --queue")
    with database(options, notify=local_settings().notify, flow=flow) as client:
        if queue is not None:
            rows = [client.resume_queue(queue, by=by or user())]
        else:
            rows = client.resume(flow or "", schedule, catchup=catchup, by=by or user())
    if options.json:
        write_json(rows if queue is None else rows[0])
        return
    for row in rows:
        sys.stdout.write(f"{resumed(row)}\n")
