"""Decisions of people about steps that wait: what `approve` and `reject` share."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.cli.options import Options
    from pgflow_yaml.database.store import Store

by_option = click.option("--by", metavar="WHO", help="Who says it (default: your user name).")


def decide(
    options: Options,
    door: Callable[..., dict[str, Any]],
    meant: str,
    *,
    run: str,
    step: str,
    comment: str | None,
    by: str | None,
) -> int:
    """Decide on a step and write the decision that stands; exit 1 if it is another."""
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.failures import BAD
    from pgflow_yaml.cli.output import write_json

    with connected(options) as store:
        chosen = lookup.run_id(store, run)
        lookup.step(lookup.snapshot(store, chosen, outputs=False), step)
        said = door(store, chosen, step, comment=comment, by=by or user())
        wake(store)
    if options.json:
        write_json(said)
    else:
        sys.stdout.write(f"{said['run_id']}  {_decided(said)}\n")
    return 0 if said["status"] == meant else BAD


def _decided(said: Mapping[str, Any]) -> str:
    from pgflow_yaml.cli.output import when

    if said["applied"]:
        return f"{said['step']} {said['status']} by {said['by']}"
    return (
        f"nothing changed: {said['step']} was {said['status']} by {said['by']} {when(said['at'])}"
    )


def wake(store: Store) -> None:
    """Wake idle workers, unless the project turned that off."""
    from pgflow_yaml.cli.flow_files.loading import worker_settings

    if worker_settings().notify:
        store.wake()


def user() -> str | None:
    """Name who sits here; a process without a user leaves it to the database."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None
