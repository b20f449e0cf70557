"""Act: send an event to a run that waits for it."""

from __future__ import annotations

import sys

import click

from pgflow_yaml.cli.decisions import by_option, user
from pgflow_yaml.cli.options import Options, command, pass_options


@command("send", example="""pgflow-yaml send last paid --data '{"amount": 12}'""")
@click.argument("run")
@click.argument("event")
@click.option("--data", metavar="JSON", help="Output of the waiting steps, as JSON or @file.")
@by_option
@pass_options
def send_command(
    options: Options, *, run: str, event: str, data: str | None, by: str | None
) -> None:
    """Send an event to a run; the steps that wait for it complete now, or as soon as they wait.

    RUN is an id, the beginning of one, a key, or "last". The first event of a name counts.
    """
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.cli.run_input import read_json_option
    from pgflow_yaml.client import outcomes
    from pgflow_yaml.project.settings import local_settings

    value = None if data is None else read_json_option(data, "--data")
    with database(options, notify=local_settings().notify, run=run) as client:
        chosen = lookup.run_id(client, run)
        sent = client.send(chosen, event, value, by=by or user())
        if sent.stored and (unknown := outcomes.unknown_event(client, chosen, event)):
            options.note(unknown)
    if options.json:
        write_json(sent.as_json())
        return
    sys.stdout.write(f"{sent.run_id}  {outcomes.sent(sent)}\n")
