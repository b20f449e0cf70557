"""Deploy: list the flows in the database."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from pgflow_yaml.cli.output import CellsOf


@command("flows", example="pgflow-yaml flows")
@pass_options
def flows_command(options: Options) -> None:
    """List the flows in the database."""
    from pgflow_yaml.cli.database import rows
    from pgflow_yaml.cli.output import Column, when, write_list
    from pgflow_yaml.runs.listed import run_counts

    flows = rows(
        options,
        lambda client: [summary.as_json() for summary in client.list_flows()],
        key=itemgetter("name", "database"),
    )
    columns: list[CellsOf] = [
        (Column("FLOW"), itemgetter("name")),
        (Column("ACTIVE"), lambda flow: flow["version"] or "none"),
        (Column("VERSIONS", right=True), lambda flow: str(flow["versions"])),
        (Column("RUNS", flexible=True), lambda flow: run_counts(flow["runs"])),
        (Column("DEPLOYED"), lambda flow: when(flow["deployed_at"])),
        (Column("DESCRIPTION", flexible=True), lambda flow: flow["description"] or ""),
    ]
    write_list(flows, columns, options)
