"""What would happen: `plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

from .run import INPUT_HELP

if TYPE_CHECKING:
    from collections.abc import Sequence


@command("plan", example="pgflow-yaml plan hello.flow.yaml --input name=Ada")
@click.argument("file", metavar="FILE", type=click.Path())
@click.option("--input", "inputs", metavar="INPUT", multiple=True, help=INPUT_HELP)
@pass_options
def plan_command(options: Options, *, file: str, inputs: Sequence[str]) -> None:
    """Say what a run of a file would do, and what deploying it would change.

    Levels, the longest chain, and which steps an input would skip, as far as that is certain
    before the run. No handler is called, and no database is started.
    """
    from pgflow_yaml.cli import comparing, planning
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.cli.run_input import read_input
    from pgflow_yaml.language.plan import UNKNOWN, plan

    definition = comparing.read(file, options)
    given = read_input(inputs, definition.body) if inputs else UNKNOWN
    planned = plan(definition, given)
    deployed = planning.deploying(definition, file, options)
    if options.json:
        write_json(planning.shape(definition, planned, deployed))
    else:
        planning.write(definition, planned, deployed, options)
