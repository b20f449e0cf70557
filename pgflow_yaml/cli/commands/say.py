"""What is said to runs that wait: `send`, `approve`, `reject`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Json

by_option = click.option("--by", metavar="WHO", help="Who says it (default: your user name).")


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
        said = store.send_event(chosen, event, data_text=text, by=by or _user())
        _wake(store)
        if said["stored"]:
            _note_unknown(store, chosen, event, options)
    if options.json:
        write_json(said)
        return
    sys.stdout.write(f"{said['run_id']}  {_sent(said)}\n")


@command("approve", example='pgflow-yaml approve last go_live --comment "tests are green"')
@click.argument("run")
@click.argument("step")
@click.option("--comment", metavar="TEXT", help="Kept with the decision.")
@by_option
@pass_options
def approve_command(options: Options, /, **given: Any) -> int:
    """Approve a step that waits for an event: it completes, now or when it comes to wait.

    RUN is an id, the beginning of one, a key, or "last". The first decision stands: exit 1 if it
    was another.
    """
    from pgflow_yaml.database.store import Store

    return _decide(options, Store.approve_step, "approved", **given)


@command("reject", example='pgflow-yaml reject last go_live --comment "not on a Friday"')
@click.argument("run")
@click.argument("step")
@click.option("--comment", metavar="TEXT", help="Kept with the decision.")
@by_option
@pass_options
def reject_command(options: Options, /, **given: Any) -> int:
    """Reject a step that waits for an event: it fails, with the error type Rejected.

    RUN is an id, the beginning of one, a key, or "last". The first decision stands: exit 1 if it
    was another.
    """
    from pgflow_yaml.database.store import Store

    return _decide(options, Store.reject_step, "rejected", **given)


def _decide(
    options: Options,
    decide: Callable[..., dict[str, Any]],
    meant: str,
    *,
    run: str,
    step: str,
    comment: str | None,
    by: str | None,
) -> int:
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.failures import BAD
    from pgflow_yaml.cli.output import write_json

    with connected(options) as store:
        chosen = lookup.run_id(store, run)
        lookup.step(lookup.snapshot(store, chosen, outputs=False), step)
        said = decide(store, chosen, step, comment=comment, by=by or _user())
        _wake(store)
    if options.json:
        write_json(said)
    else:
        sys.stdout.write(f"{said['run_id']}  {_decided(said)}\n")
    return 0 if said["status"] == meant else BAD


def _sent(said: Mapping[str, Any]) -> str:
    if said["already"]:
        return f'nothing changed: an earlier event "{said["event"]}" stands'
    if said["stored"]:
        return f'kept: no step waits for "{said["event"]}" yet'
    return f"completed {', '.join(said['steps'])}"


def _decided(said: Mapping[str, Any]) -> str:
    from pgflow_yaml.cli.output import when

    if said["applied"]:
        return f"{said['step']} {said['status']} by {said['by']}"
    return (
        f"nothing changed: {said['step']} was {said['status']} by {said['by']} {when(said['at'])}"
    )


def _note_unknown(store: Store, run_id: str, event: str, options: Options) -> None:
    """Say that an event will never be waited for: most likely a typing mistake."""
    from pgflow_yaml.language.suggestions import did_you_mean

    run = (store.run_snapshot(run_id, outputs=False) or {"run": {}})["run"]
    found = store.get_definition(run["flow"], run["version"]) if run else None
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


def _wake(store: Store) -> None:
    from pgflow_yaml.cli.flow_files.loading import worker_settings

    if worker_settings().notify:
        store.wake()


def _user() -> str | None:
    """Name who sits here; a process without a user leaves it to the database."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None
