"""Run: start a run for workers elsewhere and print its id."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import (
    Options,
    command,
    input_option,
    key_option,
    label_option,
    pass_options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@command("start", example="pgflow-yaml start hello --input name=Ada --key first")
@click.argument("flow")
@input_option
@key_option
@label_option("--label", text="Label to find the run by, see `runs --label` (may be repeated).")
@pass_options
def start_command(
    options: Options,
    *,
    flow: str,
    inputs: Sequence[str],
    key: str | None,
    labels: Mapping[str, str],
) -> None:
    """Start a run for workers elsewhere and print its id."""
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.lookup import active
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.cli.run_input import read_input
    from pgflow_yaml.project.files import is_file
    from pgflow_yaml.project.settings import local_settings
    from pgflow_yaml.runs.snapshot import STATUS_PHRASES

    if is_file(flow):
        name = re.sub(r"(\.flow)?\.ya?ml$", "", Path(flow).name)
        raise click.UsageError(
            f"`start` takes the name of a flow, not a file: `pgflow-yaml compile {flow}`, "
            f"and then `pgflow-yaml start {name}`, if that is its name"
        )

    with database(options, notify=local_settings().notify) as client:
        version = active(client, flow)
        run_input = read_input(inputs, version.definition)
        started = client.start_run(flow, run_input, key=key, labels=labels)
    if options.json:
        write_json(started.as_json())
        return
    if not started.created:
        options.note(f"this key was used before: its run {STATUS_PHRASES[started.status]}")
    sys.stdout.write(started.run_id + "\n")
