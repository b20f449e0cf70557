"""Deploy: check flow files and make their versions the active ones."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.client import Deployed, Preview


@command("compile", example="pgflow-yaml compile hello.flow.yaml")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--dry-run", is_flag=True, help="Print the changes without making them.")
@click.option(
    "--no-activate", is_flag=True, help="Store the version without making it the active one."
)
@pass_options
def compile_command(
    options: Options, *, files: Sequence[str], dry_run: bool, no_activate: bool
) -> None:
    """Check flow files and make their versions the active ones.

    A file without changes is not stored again. Nothing is stored unless all files are valid.
    """
    from pgflow_yaml.cli.database import deployments
    from pgflow_yaml.cli.diagnostics import valid_definitions
    from pgflow_yaml.cli.output import needs_line, write_json
    from pgflow_yaml.client.outcomes import deployed
    from pgflow_yaml.project.flow_set import FlowSet
    from pgflow_yaml.project.settings import local_settings

    flows = FlowSet.load(files).with_hidden(local_settings())
    flows.require()
    results: list[tuple[str | None, Deployed | Preview]] = []
    with deployments(options, flows) as parts:
        for _, client, part in parts:  # all of them before one is stored
            valid_definitions(client.check(part), options)
        for name, client, part in parts:
            store = client.preview if dry_run else client.deploy_set
            results += [(name, result) for result in store(part, activate=not no_activate)]
    order = [definition.name for definition in flows.definitions]
    results.sort(key=lambda pair: order.index(pair[1].name))
    needed = {file.definition.name: file.needed for file in flows.files if file.definition}
    if options.json:
        write_json(
            [
                {
                    **({} if name is None else {"database": name}),
                    **result.as_json(),
                    "allow": needed[result.name],
                }
                for name, result in results
            ]
        )
        return
    for name, result in results:
        where = "" if name is None else f", in database {name}"
        sys.stdout.write(f"{'would be ' * dry_run}{deployed(result)}{where}\n")
        if needed[result.name]:
            sys.stdout.write(f"  {needs_line(needed[result.name])}\n")
