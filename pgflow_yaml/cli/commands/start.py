"""Run: start a run for workers elsewhere and print its id."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import (
    Options,
    command,
    input_option,
    key_option,
    label_option,
    pass_options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@command("start", example="pgflow-yaml start hello --input name=Ada --key first")
@click.argument("flow", required=False)
@input_option
@key_option
@label_option("--label", text="Label to find the run by, see `runs --label` (may be repeated).")
@click.option(
    "--at",
    metavar="TIME",
    help="Time at which the run begins: 2026-12-24T18:00, or 2h (from now).",
)
@click.option(
    "--debounce",
    metavar="DURATION",
    help="Delay after the last start with the same --key, whose input the run gets: 30s.",
)
@click.option("--like", metavar="RUN", help="With the input of this run; --input goes over it.")
@pass_options
def start_command(
    options: Options,
    *,
    flow: str | None,
    inputs: Sequence[str],
    key: str | None,
    labels: Mapping[str, str],
    at: str | None,
    debounce: str | None,
    like: str | None,
) -> None:
    """Start a run for workers elsewhere and print its id.

    With --at, the run is created at once and begins at that time; a time without an offset is that
    of this machine's clock. `cancel` withdraws the run.

    With --debounce, each start with the same --key replaces the input of the waiting run and
    postpones it; once the run has begun, the next start makes another one.

    With --like, FLOW may be left out: it is that of the other run, in its active version.
    """
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.lookup import active, run_id
    from pgflow_yaml.cli.moments import read_moment
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.cli.run_input import read_input, trace_of_shell
    from pgflow_yaml.client.lookup import snapshot
    from pgflow_yaml.client.outcomes import found_by_key
    from pgflow_yaml.project.files import is_file
    from pgflow_yaml.project.settings import local_settings

    if flow is None and like is None:
        raise click.UsageError("name the FLOW to start, or a run with --like")
    if flow is not None and is_file(flow):
        name = re.sub(r"(\.flow)?\.ya?ml$", "", Path(flow).name)
        raise click.UsageError(
            f"`start` takes the name of a flow, not a file: `pgflow-yaml compile {flow}`, "
            f"and then `pgflow-yaml start {name}`, if that is its name"
        )

    pause = _pause(debounce, key=key, at=at)
    moment = None if at is None else read_moment(at, "--at", past=False)
    with database(options, notify=local_settings().notify, flow=flow, run=like) as client:
        model = snapshot(client, run_id(client, like), outputs=False)["run"] if like else None
        flow = flow or (model["flow"] if model else "")
        if model and model["flow"] != flow:
            raise click.UsageError(f'run {model["id"][:8]} is of flow "{model["flow"]}"')
        version = active(client, flow)
        run_input = read_input(inputs, version.definition, before=model["input"] if model else None)
        started = client.start_run(
            flow,
            run_input,
            key=key,
            labels=labels,
            at=moment,
            debounce=pause,
            trace=trace_of_shell(),
        )
    if options.json:
        write_json(started.as_json())
        return
    if note := found_by_key(started, debounced=pause is not None):
        options.note(note)
    sys.stdout.write(started.run_id + "\n")


def _pause(debounce: str | None, *, key: str | None, at: str | None) -> float | None:
    """Return the seconds of --debounce; raises UsageError."""
    from pgflow_yaml.language.durations import milliseconds

    if debounce is None:
        return None
    if key is None:
        raise click.UsageError("--debounce needs a --key: starts with the same one are joined")
    if at is not None:
        raise click.UsageError("--debounce and --at exclude each other")
    length = milliseconds(debounce.strip())
    if length is None or length < 1000:
        raise click.UsageError(
            f'--debounce "{debounce}" is not a duration of at least 1s; write 30s, 5m or 2h'
        )
    return length / 1000
