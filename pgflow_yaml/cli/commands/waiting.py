"""Watch: list the steps that wait for an event or for people."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.cli.output import CellsOf


@command("waiting", example="pgflow-yaml waiting")
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Number of steps."
)
@pass_options
def waiting_command(options: Options, *, limit: int) -> None:
    """List the steps of live runs that wait for an event, the longest wait first.

    FOR names the people and groups who may decide, if not everybody; FORM the fields that they
    fill in. `pgflow-yaml approve` and `reject` decide.
    """
    from pgflow_yaml.cli.database import rows
    from pgflow_yaml.cli.output import Column, age, when, write_list
    from pgflow_yaml.text import moment

    steps = rows(
        options,
        lambda client: [step.as_json() for step in client.list_waiting(limit=limit)],
        key=lambda step: moment(step["since"]),
        limit=limit,
    )
    columns: list[CellsOf] = [
        (Column("RUN"), lambda step: step["run_id"][:8]),
        (Column("FLOW", flexible=True, spare=0), itemgetter("flow")),
        (Column("STEP", flexible=True, spare=0), itemgetter("step")),
        (Column("EVENT", flexible=True), itemgetter("event")),
        (Column("SINCE", right=True), lambda step: age(step["since"])),
        (Column("UNTIL", right=True), lambda step: when(step["until"])),
        (Column("FOR", flexible=True), lambda step: ", ".join(step["by"] or ())),
        (Column("FORM", flexible=True), _form),
    ]
    write_list(steps, columns, options)


def _form(step: Mapping[str, Any]) -> str:
    return ", ".join(step["form"] or ())
