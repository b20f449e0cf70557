"""Act: approve a step that waits for an event."""

from __future__ import annotations

from typing import Any

import click

from pgflow_yaml.cli.decisions import by_option, data_option, decide
from pgflow_yaml.cli.options import Options, command, pass_options


@command("approve", example='pgflow-yaml approve last go_live --comment "tests are green"')
@click.argument("run")
@click.argument("step")
@click.option("--comment", metavar="TEXT", help="Kept with the decision.")
@data_option
@by_option
@pass_options
def approve_command(options: Options, /, **arguments: Any) -> int:
    """Approve a step that waits for an event: it completes now, or as soon as it
    waits.

    RUN is an id, the beginning of one, a key, or "last". The first decision counts; exit 1 if
    it was a different one. `pgflow-yaml waiting` lists what may be decided.
    """
    return decide(options, "approved", **arguments)
