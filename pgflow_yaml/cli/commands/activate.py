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
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.flow_files.deploying import said
    from pgflow_yaml.cli.output import write_json

    with connected(options) as store:
        result = store.activate(flow, lookup.version(store, flow, version))
    if options.json:
        write_json(result)
    else:
        sys.stdout.write(f"{said(result)}\n")
