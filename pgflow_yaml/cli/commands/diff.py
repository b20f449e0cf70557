"""Deploy: list what a flow file changes in the active version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from pgflow_yaml.cli.comparing import Comparison


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
    """Say what a flow file changes in the active version.

    In words, and only what it means: comments, descriptions and order are no difference. With
    --between, FILE may be the name of a flow.
    """
    from pgflow_yaml.cli import comparing
    from pgflow_yaml.cli.failures import BAD
    from pgflow_yaml.cli.output import write_json

    if against is not None and between is not None:
        raise click.UsageError("--against and --between name two ways to compare: take one")
    found = _compare(options, file, against, between)
    if options.json:
        write_json(found.shape())
    else:
        comparing.write(found, options)
    return BAD if exit_code and found.changes else 0


def _compare(
    options: Options, file: str, against: str | None, between: tuple[str, str] | None
) -> Comparison:
    from pgflow_yaml.cli import comparing
    from pgflow_yaml.cli.database import connected

    if against is not None:
        return comparing.with_revision(file, against, options)
    if between is not None:
        flow = comparing.flow_of(file, options)
        with connected(options) as store:
            return comparing.of_versions(store, flow, between)
    new = comparing.read(file, options)
    with connected(options) as store:
        return comparing.with_active(store, new, file)
