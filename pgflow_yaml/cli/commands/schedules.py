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
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.lookup import must_be_flow
    from pgflow_yaml.cli.output import Column, write_list

    with database(options) as client:
        if flow is not None:
            must_be_flow(client.list_flows(), flow)
        found: list[dict[str, Any]] = [
            each.as_json() for each in client.list_schedules(flow, ticks=count or 0)
        ]
    columns: list[CellsOf] = [
        (Column("FLOW", flexible=True, spare=0), itemgetter("flow")),
        (Column("SCHEDULE", flexible=True, spare=0), itemgetter("name")),
        (Column("NEXT"), _next),
        (Column("LAST", flexible=True), _last),
        (Column("SKIPPED", right=True), lambda each: f"{each['skipped']:,}"),
        (Column("MISSED", right=True), lambda each: f"{each['missed']:,}"),
        (Column("NOTE", flexible=True), _note),
    ]
    write_list(found, columns, options)
    if count and not options.json:
        for each in found:
            sys.stdout.write(f"\n{each['flow']}  {each['name']}\n")
            for tick in each["next_ticks"]:
                sys.stdout.write(f"  {tick}\n")


def _next(each: Mapping[str, Any]) -> str:
    from pgflow_yaml.cli.output import when

    if each["paused_at"]:
        return "paused"
    if each["next_at"] is None:
        return "not computed yet"
    return when(each["next_at"])


def _last(each: Mapping[str, Any]) -> str:
    from pgflow_yaml.cli.output import when

    if each["last_at"] is None:
        return ""
    return " ".join(filter(None, (when(each["last_at"]), each["last_status"])))


def _note(each: Mapping[str, Any]) -> str:
    """Return what somebody should know, the most important first."""
    from pgflow_yaml.cli.output import when
    from pgflow_yaml.text import roughly

    notes = []
    if each["paused_at"]:
        notes.append(f"paused by {each['paused_by']} {when(each['paused_at'])}")
    elif each["late_seconds"] is not None or (each["next_at"] is None and not each["served"]):
        late = each["late_seconds"]
        words = f"late by {roughly(late)}" if late is not None else "waits for a worker"
        dead = f"{words}, no worker is alive: pgflow-yaml worker"
        notes.append(words if each["served"] else dead)
    if each["problem"]:
        notes.append(f"the last tick failed: {each['problem']['message']}")
    return "; ".join(notes)
