"""Commands of the section Run: `run`, `start`, `worker`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.options import (
    Options,
    command,
    label_option,
    optional_seconds,
    pass_options,
    worker_options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.cli.database import Database

INPUT_HELP = "JSON, @file, or name=value (repeated)."
LABEL_HELP = "For finding the run again: `runs --label` (repeated)."


@command("run", example="pgflow-yaml run hello.flow.yaml --input name=Ada")
@click.argument("flows", metavar="FILE... or FLOW", nargs=-1, required=True, type=click.Path())
@click.option("--input", "inputs", metavar="INPUT", multiple=True, help=INPUT_HELP)
@click.option("--key", help="Start once: the same key again is the same run.")
@label_option("--label", text=LABEL_HELP)
@click.option("--detach", is_flag=True, help="Start it for other workers, print its id.")
@click.option("--timeout", metavar="TIME", help="Stop following after 30s, 5m: exit 124.")
@worker_options
@pass_options
def run_command(options: Options, /, **given: Any) -> int:
    """Run a flow here and follow it to its end.

    The FILEs are deployed if they changed, the first is started, and a worker lives inside this
    command while it lasts, for this flow and the flows that its steps run. The exit code says
    how the run ended.
    """
    from pgflow_yaml.cli.run_here import Request, run_here

    return run_here(Request(**given), options)


@command("start", example="pgflow-yaml start hello --input name=Ada --key first")
@click.argument("flow")
@click.option("--input", "inputs", metavar="INPUT", multiple=True, help=INPUT_HELP)
@click.option("--key", help="Start once: the same key again is the same run.")
@label_option("--label", text=LABEL_HELP)
@pass_options
def start_command(
    options: Options,
    *,
    flow: str,
    inputs: Sequence[str],
    key: str | None,
    labels: Mapping[str, str],
) -> None:
    """Start a run for workers elsewhere and print its id."""
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.flow_files.loading import worker_settings
    from pgflow_yaml.cli.lookup import active
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.cli.run_input import as_text, read_input
    from pgflow_yaml.runs.snapshot import SAID

    with connected(options) as store:
        definition = active(store, flow)["definition"]
        given = as_text(read_input(inputs, definition))
        started = store.start_run(flow, given, key=key, labels=labels)
        if worker_settings().notify:
            store.wake()
    if options.json:
        write_json(started)
        return
    if not started["created"]:
        options.note(f"this key was used before: its run {SAID[started['status']]}")
    sys.stdout.write(started["run_id"] + "\n")


@command("worker", example="pgflow-yaml worker --burst")
@click.option(
    "--queue",
    "queues",
    metavar="NAME",
    multiple=True,
    help="Only this queue: a flow's, or one that steps name; may be repeated.",
)
@click.option(
    "--burst",
    is_flag=True,
    help="Stop when nothing can be done now; later retries and timers stay.",
)
@click.option(
    "--poll-interval-ms",
    metavar="N",
    type=click.FloatRange(1),
    default=50,
    show_default=True,
    help="Pause after work.",
)
@click.option(
    "--max-poll-seconds",
    metavar="N",
    type=click.FloatRange(0.001),
    default=1.0,
    show_default=True,
    help="Pause when idle.",
)
@worker_options
@pass_options
def worker_command(
    options: Options,
    /,
    *,
    queues: Sequence[str],
    burst: bool,
    poll_interval_ms: float,
    max_poll_seconds: float,
    lease: str | None,
    **given: Any,
) -> int:
    """Process tasks until told to stop.

    SIGTERM or Ctrl-C: what has begun may finish, exit 0. A second one: at once, exit 1.
    """
    import logging

    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.flow_files.loading import worker_settings
    from pgflow_yaml.cli.logs import set_up_logs
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.cli.worker_thread import serve, worker_for

    log = logging.getLogger("pgflow_yaml.cli")
    said = "stopping: what has begun may finish; a second signal gives it back at once"
    settings = worker_settings(lease=optional_seconds(lease, "--lease"), **given)
    with database(options) as place:
        set_up_logs(options, level=logging.INFO)
        for name, near in _unknown(queues, place):
            log.warning('no flow in this database uses the queue "%s" yet%s', name, near)
        worker = worker_for(
            place,
            settings,
            queues=list(queues) or None,
            burst=burst,
            poll_interval_ms=poll_interval_ms,
            max_poll_seconds=max_poll_seconds,
        )
        code = serve(worker, lambda: log.info(said, extra={"action": "stop"}))
    if options.json:
        write_json({"worker": worker.id, "exit_code": code})
    return code


def _unknown(queues: Sequence[str], place: Database) -> list[tuple[str, str]]:
    """Find queues that no flow uses: one may come, or they are typing mistakes."""
    from pgflow_yaml.language.suggestions import did_you_mean

    if not queues:
        return []
    with place.store() as store:
        known = store.served_queues()
    return [(queue, did_you_mean(queue, known)) for queue in queues if queue not in known]
