"""Watch and repair: send an event to a run that waits for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.decisions import by_option, user, wake
from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Json


@command("send", example="""pgflow-yaml send last paid --data '{"amount": 12}'""")
@click.argument("run")
@click.argument("event")
@click.option("--data", metavar="JSON", help="JSON or @file: the output of the steps that wait.")
@by_option
@pass_options
def send_command(
    options: Options, *, run: str, event: str, data: str | None, by: str | None
) -> None:
    """Send an event to a run: the steps that wait for it go on, now or when they come to it.

    RUN is an id, the beginning of one, a key, or "last". The first event of a name stands.
    """
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.cli.run_input import as_text, read_json_option

    text = as_text(None if data is None else read_json_option(data, "--data"))
    with connected(options) as store:
        chosen = lookup.run_id(store, run)
        said = store.send_event(chosen, event, data_text=text, by=by or user())
        wake(store)
        if said["stored"]:
            _note_unknown(store, chosen, event, options)
    if options.json:
        write_json(said)
        return
    sys.stdout.write(f"{said['run_id']}  {_sent(said)}\n")


def _sent(said: Mapping[str, Any]) -> str:
    if said["already"]:
        return f'nothing changed: an earlier event "{said["event"]}" stands'
    if said["stored"]:
        return f'kept: no step waits for "{said["event"]}" yet'
    return f"completed {', '.join(said['steps'])}"


def _note_unknown(store: Store, run_id: str, event: str, options: Options) -> None:
    """Say that an event will never be waited for: most likely a typing mistake."""
    from pgflow_yaml.language.suggestions import did_you_mean

    snapshot = store.run_snapshot(run_id, outputs=False)
    if snapshot is None:
        return
    run = snapshot["run"]
    found = store.get_definition(run["flow"], run["version"])
    names = _events(found["definition"] if found else {})
    if found is not None and event not in names:
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
