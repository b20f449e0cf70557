"""Commands that start and stop runs: `run`, `start`, `cancel`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from .options import Options, command, pass_options, worker_options

if TYPE_CHECKING:
    from collections.abc import Sequence

INPUT_HELP = "JSON, @file, or name=value (repeated)."


@command("run", example="pgflow-yaml run hello.flow.yaml --input name=Ada")
@click.argument("flows", metavar="FILE... or FLOW", nargs=-1, required=True)
@click.option("--input", "inputs", metavar="INPUT", multiple=True, help=INPUT_HELP)
@click.option("--key", help="Start once: the same key again is the same run.")
@click.option("--detach", is_flag=True, help="Start it for other workers, print its id.")
@click.option("--timeout", metavar="TIME", help="Stop following after 30s, 5m: exit 124.")
@worker_options
@pass_options
def run_command(options: Options, /, **given: Any) -> int:
    """Run a flow here and follow it to its end.

    The FILEs are deployed if they changed, the first is started, and a worker lives inside this
    command while it lasts. The exit code says how the run ended.
    """
    from .running import Request, run_here

    return run_here(Request(**given), options)


@command("start", example="pgflow-yaml start hello --input name=Ada --key first")
@click.argument("flow")
@click.option("--input", "inputs", metavar="INPUT", multiple=True, help=INPUT_HELP)
@click.option("--key", help="Start once: the same key again is the same run.")
@pass_options
def start_command(options: Options, *, flow: str, inputs: Sequence[str], key: str | None) -> None:
    """Start a run for workers elsewhere and print its id."""
    from .database import connected
    from .finding import active
    from .given import as_text, read_input
    from .output import write_json

    with connected(options) as store:
        spec = active(store, flow)["definition"].get("input")
        started = store.start_run(flow, as_text(read_input(inputs, spec)), key=key)
    if options.json:
        write_json(started)
        return
    if not started["created"]:
        options.note(f"this key was used before: its run is {started['status']}")
    sys.stdout.write(started["run_id"] + "\n")


@command("cancel", example='pgflow-yaml cancel last --reason "wrong order"')
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--reason", help="Kept with the run.")
@pass_options
def cancel_command(options: Options, *, runs: Sequence[str], reason: str | None) -> None:
    """Cancel runs; one that has ended stays as it is.

    RUN is an id, the beginning of one, a key, or "last".
    """
    from .database import connected
    from .finding import run_id
    from .output import write_json

    with connected(options) as store:
        # All are found before any is cancelled: a typing mistake cancels nothing.
        chosen = list(dict.fromkeys(run_id(store, each) for each in runs))
        results = [store.cancel_run(each, reason) for each in chosen]
    if options.json:
        write_json(results)
        return
    for result in results:
        words = "cancelled" if result["cancelled"] else f"had ended already: {result['status']}"
        sys.stdout.write(f"{result['run_id']}  {words}\n")
