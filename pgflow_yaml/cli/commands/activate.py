"""Deploy: make a stored version of a flow the active one."""

from __future__ import annotations

import sys

import click

from pgflow_yaml.cli.options import Options, command, pass_options


@command("activate", example="pgflow-yaml activate hello fdc2")
@click.argument("flow")
@click.argument("version")
@pass_options
def activate_command(options: Options, *, flow: str, version: str) -> None:
    """Make a stored version of a flow the active one.

    VERSION is a version of the flow, or the beginning of one. New runs take it; runs that have
    begun stay on theirs.
    """
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.client.outcomes import deployed

    with database(options, flow=flow) as client:
        result = client.activate(flow, lookup.version(client, flow, version))
    if options.json:
        write_json(result.as_json())
    else:
        sys.stdout.write(f"{deployed(result)}\n")
