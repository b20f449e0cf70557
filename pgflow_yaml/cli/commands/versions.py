"""Deploy: list the versions of a flow."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from pgflow_yaml.cli.output import CellsOf


@command("versions", example="pgflow-yaml versions hello")
@click.argument("flow")
@pass_options
def versions_command(options: Options, *, flow: str) -> None:
    """List the versions of a flow, the newest first.

    COMMIT is the one that git had out when the version was compiled, with a + if the files were
    changed since; AUTHOR wrote that commit.
    """
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.lookup import must_be_flow
    from pgflow_yaml.cli.output import Column, when, write_list
    from pgflow_yaml.runs.listed import commit, run_counts

    with database(options, reads=True, flow=flow) as client:
        must_be_flow(client.list_flows(counts=False), flow)
        versions = [summary.as_json() for summary in client.list_versions(flow)]
    columns: list[CellsOf] = [
        (Column("VERSION"), itemgetter("version")),
        (Column("ACTIVE"), lambda version: "active" if version["active"] else ""),
        (Column("RUNS", flexible=True), lambda version: run_counts(version["runs"])),
        (Column("CREATED"), lambda version: when(version["created_at"])),
        (Column("COMMIT", flexible=True), lambda version: commit(version["git"])),
        (Column("AUTHOR", flexible=True), lambda version: (version["git"] or {}).get("author", "")),
        (Column("BY", flexible=True), lambda version: version["created_by"] or ""),
    ]
    write_list(versions, columns, options)
