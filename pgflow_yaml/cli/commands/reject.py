"""Act: reject a step that waits for an event: it fails."""

from __future__ import annotations

from typing import Any

import click

from pgflow_yaml.cli.decisions import by_option, data_option, decide
from pgflow_yaml.cli.options import Options, command, pass_options


@command("reject", example='pgflow-yaml reject last go_live --comment "not on a Friday"')
@click.argument("run")
@click.argument("step")
@click.option("--comment", metavar="TEXT", help="Kept with the decision.")
@data_option
@by_option
@pass_options
def reject_command(options: Options, /, **arguments: Any) -> int:
    """Reject a step that waits for an event: it fails, with the error type Rejected.

    RUN is an id, the beginning of one, a key, or "last". The first decision counts; exit 1 if
    it was a different one. No field of a form is required.
    """
    return decide(options, "rejected", **arguments)
