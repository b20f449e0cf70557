"""Act: send an event to a run that waits for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.decisions import by_option, user
from pgflow_yaml.cli.options import Options, command, pass_options
from pgflow_yaml.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.client import Client, Sent
    from pgflow_yaml.language.model import Json


@command("send", example="""pgflow-yaml send last paid --data '{"amount": 12}'""")
@click.argument("run")
@click.argument("event")
@click.option("--data", metavar="JSON", help="Output of the waiting steps, as JSON or @file.")
@by_option
@pass_options
def send_command(
    options: Options, *, run: str, event: str, data: str | None, by: str | None
) -> None:
    """Send an event to a run; the steps that wait for it complete now, or as soon as they wait.

    RUN is an id, the beginning of one, a key, or "last". The first event of a name counts.
    """
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.cli.run_input import read_json_option
    from pgflow_yaml.project.settings import local_settings

    value = None if data is None else read_json_option(data, "--data")
    with database(options, notify=local_settings().notify) as client:
        chosen = lookup.run_id(client, run)
        sent = client.send(chosen, event, value, by=by or user())
        if sent.stored:
            _note_unknown(client, chosen, event, options)
    if options.json:
        write_json(sent.as_json())
        return
    sys.stdout.write(f"{sent.run_id}  {_result(sent)}\n")


def _result(sent: Sent) -> str:
    if sent.already:
        return f'nothing changed: an earlier event "{sent.event}" stands'
    if sent.stored:
        return f'kept: no step waits for "{sent.event}" yet'
    return f"completed {', '.join(sent.steps)}"


def _note_unknown(client: Client, run_id: str, event: str, options: Options) -> None:
    """Note that no step waits for an event of this name: most likely a typing mistake."""
    from pgflow_yaml.language.suggestions import did_you_mean

    try:
        run = client.run_snapshot(run_id, outputs=False)["run"]
    except NotFound:  # deleted meanwhile
        return
    stored = client.get_definition(run["flow"], run["version"])
    names = _events(stored.definition if stored else {})
    if stored is not None and event not in names:
        options.note(
            f'no step of {run["flow"]} waits for an event "{event}"'
            f"{did_you_mean(event, names) or _known(names)}"
        )


def _events(definition: Mapping[str, Any]) -> list[str]:
    steps: dict[str, Json] = {**definition.get("steps", {}), **definition.get("finally", {})}
    waits = (step.get("wait") for step in steps.values() if isinstance(step, dict))
    return sorted(
        {str(wait["event"]) for wait in waits if isinstance(wait, dict) and "event" in wait}
    )


def _known(names: list[str]) -> str:
    return f"; they wait for {', '.join(names)}" if names else "; none waits for any"
