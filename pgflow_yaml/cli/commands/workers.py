"""Watch: list workers and how busy they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from pgflow_yaml.cli.output import CellsOf


@command("workers", example="pgflow-yaml workers")
@click.option("--all", "every", is_flag=True, help="Also list stopped and long silent workers.")
@pass_options
def workers_command(options: Options, *, every: bool) -> None:
    """List the workers that were heard from in the last day, the last one first.

    A worker that was heard from in the last minute is alive, another one silent; one whose engine
    is away waits for that. BUSY is the number of tasks that it holds, of its slots.
    """
    from pgflow_yaml.cli.database import rows
    from pgflow_yaml.cli.output import Column, when, write_list
    from pgflow_yaml.runs.listed import worker_busy, worker_queues, worker_status
    from pgflow_yaml.text import moment

    workers = rows(
        options,
        lambda client: [summary.as_json() for summary in client.list_workers(every=every)],
        key=lambda worker: moment(worker["heard_at"]),
        reverse=True,
    )
    columns: list[CellsOf] = [
        (Column("HOST", flexible=True, spare=0), lambda worker: worker["host"] or "unknown"),
        (Column("PID", right=True), lambda worker: str(worker["pid"] or "")),
        (Column("STATUS"), worker_status),
        (Column("BUSY", right=True), worker_busy),
        (Column("HEARD"), lambda worker: when(worker["heard_at"])),
        (Column("SINCE"), lambda worker: when(worker["started_at"])),
        (Column("QUEUES", flexible=True), worker_queues),
        (Column("RELEASE", flexible=True, spare=2), lambda worker: worker["release"] or ""),
        (Column("LOGIN", flexible=True, spare=3), lambda worker: worker["login"]),
    ]
    write_list(workers, columns, options)
