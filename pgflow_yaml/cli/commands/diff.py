"""Deploy: list what a flow file changes in the active version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from pgflow_yaml.project.versions import Comparison


@command("diff", example="pgflow-yaml diff hello.flow.yaml")
@click.argument("file", metavar="FILE", type=click.Path())
@click.option(
    "--against", metavar="REVISION", help="Compare with the file at this git revision instead."
)
@click.option(
    "--between", metavar="A B", nargs=2, help="Compare two stored versions of the file's flow."
)
@click.option("--exit-code", is_flag=True, help="Exit 1 if there is a difference.")
@pass_options
def diff_command(
    options: Options,
    *,
    file: str,
    against: str | None,
    between: tuple[str, str] | None,
    exit_code: bool,
) -> int:
    """Compare a flow file with the active version.

    The differences are listed in words; comments, descriptions and order do not count. With
    --between, FILE may be the name of a flow.
    """
    from pgflow_yaml.cli import comparing
    from pgflow_yaml.cli.failures import BAD
    from pgflow_yaml.cli.output import write_json

    if against is not None and between is not None:
        raise click.UsageError("--against and --between name two ways to compare: take one")
    comparison = _compare(options, file, against, between)
    if options.json:
        write_json(comparison.as_json())
    else:
        comparing.write(comparison, options)
    return BAD if exit_code and comparison.changes else 0


def _compare(
    options: Options, file: str, against: str | None, between: tuple[str, str] | None
) -> Comparison:
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.diagnostics import valid_definition
    from pgflow_yaml.project.files import is_file
    from pgflow_yaml.project.versions import compare_with_revision

    if between is not None:
        flow = valid_definition(file, options).name if is_file(file) else file
        with database(options, flow=flow) as client:
            old, new = (lookup.version(client, flow, version) for version in between)
            return client.compare_versions(flow, old, new)
    definition = valid_definition(file, options)
    if against is not None:
        return compare_with_revision(definition, file, against)
    with database(options, flow=definition.name) as client:
        return client.compare_with_active(definition, file)
