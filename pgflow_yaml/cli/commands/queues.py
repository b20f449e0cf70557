"""Watch: list queues and their messages."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.cli.output import CellsOf


@command("queues", example="pgflow-yaml queues")
@pass_options
def queues_command(options: Options) -> None:
    """List the queues: their tasks, how old the first is, and the workers that serve them.

    VISIBLE tasks can be claimed now, LEASED ones run in a worker, PARKED ones are due later: after
    a delay or before their next attempt. DEAD rows are left for vacuum. pgflow__timers is the queue
    of timers, which every worker serves. Counts end at 10,000.
    """
    from pgflow_yaml.cli.database import rows
    from pgflow_yaml.cli.output import Column, age, write_list
    from pgflow_yaml.runs.listed import queue_note

    queues = rows(
        options,
        lambda client: [summary.as_json() for summary in client.list_queues()],
        key=itemgetter("queue", "database"),
    )
    columns: list[CellsOf] = [
        (Column("QUEUE", flexible=True, spare=0), itemgetter("queue")),
        (Column("VISIBLE", right=True), _count("visible")),
        (Column("LEASED", right=True), _count("leased")),
        (Column("PARKED", right=True), _count("parked")),
        (Column("OLDEST", right=True), lambda queue: age(queue["oldest_at"])),
        (Column("WORKERS", right=True), _count("workers")),
        (Column("DEAD", right=True), _count("dead_rows")),
        (Column("NOTE", flexible=True), queue_note),
    ]
    write_list(queues, columns, options)


def _count(name: str) -> Callable[[Mapping[str, Any]], str]:
    """Return a function that formats a number of a queue."""
    from pgflow_yaml.runs.listed import queue_count

    return lambda queue: queue_count(queue, name)
