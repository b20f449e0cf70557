"""Act: cancel runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.client import Cancelled


@command("cancel", example='pgflow-yaml cancel last --reason "wrong order"')
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--reason", help="Kept with the run.")
@pass_options
def cancel_command(options: Options, *, runs: Sequence[str], reason: str | None) -> None:
    """Cancel runs; one that has ended stays as it is.

    A run with `finally` steps is stopped, and ends when these have run; one that has only these
    left keeps its outcome. Cancelled again, a run ends at once, with its child runs.

    RUN is an id, the beginning of one, a key, or "last".
    """
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.lookup import run_id
    from pgflow_yaml.cli.output import write_json

    with database(options) as client:
        # All runs are looked up before one is cancelled: with a typo, none is.
        chosen = list(dict.fromkeys(run_id(client, text) for text in runs))
        results = [client.cancel(run, reason) for run in chosen]
    if options.json:
        write_json([result.as_json() for result in results])
        return
    for result in results:
        sys.stdout.write(f"{result.run_id}  {_outcome(result)}\n")


def _outcome(result: Cancelled) -> str:
    if not result.cancelled:
        return f"had ended already: {result.status}"
    if result.status == "started":
        now = "stopping" if result.outcome == "cancelled" else f"had {result.outcome} already"
        return f"{now}; its clean-up goes on: cancel it again to end it at once"
    return "cancelled" if result.status == "cancelled" else f"ended: {result.status}"
