"""Watch: list schedules and their next ticks."""

from __future__ import annotations

import sys
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.cli.output import CellsOf
    from pgflow_yaml.client import Client


@command("schedules", example="pgflow-yaml schedules --next 5")
@click.argument("flow", required=False)
@click.option(
    "--next", "count", type=click.IntRange(1, 1000), help="Print this number of next ticks."
)
@pass_options
def schedules_command(options: Options, *, flow: str | None, count: int | None) -> None:
    """List the schedules of a flow, or of all flows, as their active versions have them.

    NEXT is the next tick. SKIPPED counts the ticks that started nothing because the previous run
    had not ended; MISSED, those that no worker fired in time or whose input was refused.
    """
    from pgflow_yaml.cli.database import rows
    from pgflow_yaml.cli.lookup import must_be_flow
    from pgflow_yaml.cli.output import Column, when, write_list
    from pgflow_yaml.runs.listed import next_tick, schedule_note

    def read(client: Client) -> list[dict[str, Any]]:
        if flow is not None:
            must_be_flow(client.list_flows(counts=False), flow)
        return [each.as_json() for each in client.list_schedules(flow, ticks=count or 0)]

    found = rows(options, read, key=itemgetter("flow", "name", "database"))
    columns: list[CellsOf] = [
        (Column("FLOW", flexible=True, spare=0), itemgetter("flow")),
        (Column("SCHEDULE", flexible=True, spare=0), itemgetter("name")),
        (Column("NEXT"), lambda each: next_tick(each, when)),
        (Column("LAST", flexible=True), _last),
        (Column("SKIPPED", right=True), lambda each: f"{each['skipped']:,}"),
        (Column("MISSED", right=True), lambda each: f"{each['missed']:,}"),
        (Column("NOTE", flexible=True), lambda each: schedule_note(each, when)),
    ]
    write_list(found, columns, options)
    if count and not options.json:
        for each in found:
            sys.stdout.write(f"\n{each['flow']}  {each['name']}\n")
            for tick in each["next_ticks"]:
                sys.stdout.write(f"  {tick}\n")


def _last(each: Mapping[str, Any]) -> str:
    from pgflow_yaml.cli.output import when

    if each["last_at"] is None:
        return ""
    return " ".join(filter(None, (when(each["last_at"]), each["last_status"])))
