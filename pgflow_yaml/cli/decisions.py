"""Decisions of people about waiting steps: the common part of `approve` and `reject`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from pgflow_yaml.cli.options import Options

by_option = click.option(
    "--by", metavar="WHO", help="Name of the sender. [default: your user name]"
)
data_option = click.option(
    "--data", metavar="JSON", help="The fields of the step's form, as JSON or @file."
)


def decide(
    options: Options,
    intended: Literal["approved", "rejected"],
    *,
    run: str,
    step: str,
    comment: str | None,
    data: str | None,
    by: str | None,
) -> int:
    """Decide on a step and write the decision that stands; return 1 if it is another one."""
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.failures import BAD
    from pgflow_yaml.cli.output import when, write_json
    from pgflow_yaml.cli.run_input import read_json_option
    from pgflow_yaml.client.lookup import snapshot
    from pgflow_yaml.client.lookup import step as find_step
    from pgflow_yaml.client.outcomes import decided
    from pgflow_yaml.project.settings import local_settings

    answer = None if data is None else read_json_option(data, "--data")
    with database(options, notify=local_settings().notify, run=run) as client:
        chosen = lookup.run_id(client, run)
        find_step(snapshot(client, chosen, outputs=False), step)
        decide_step = client.approve if intended == "approved" else client.reject
        decision = decide_step(chosen, step, comment, by=by or user(), data=answer)
    if options.json:
        write_json(decision.as_json())
    else:
        sys.stdout.write(f"{decision.run_id}  {decided(decision, when)}\n")
    return 0 if decision.status == intended else BAD


def user() -> str | None:
    """Return the name of the user, or None for a process without one."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None
