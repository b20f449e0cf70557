"""From what was typed to a run or a flow; what is not there is answered with what is near."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgflow_yaml.errors import NotFound
from pgflow_yaml.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.client import Client

    from .shapes import Snapshot, StepShape


def run_id(client: Client, text: str) -> str:
    """Find a run by its id, a unique prefix of that, its key, or `last`."""
    found = client.find_run(text)
    if not found:
        raise NotFound(f'there is no run "{text}"; `pgflow-yaml runs` lists them')
    if len(found) > 1:
        some = ", ".join(each[:13] for each in found)
        raise click.UsageError(
            f'"{text}" is the beginning of several runs ({some}): write more of it'
        )
    return found[0]


def step(snapshot: Snapshot, slug: str) -> StepShape:
    """Find a step of a run."""
    for each in snapshot["steps"]:
        if each["slug"] == slug:
            return each
    near = did_you_mean(slug, [each["slug"] for each in snapshot["steps"]])
    raise NotFound(f'flow "{snapshot["run"]["flow"]}" has no step "{slug}"{near}')


def must_be_flow(flows: Sequence[Mapping[str, object]], name: str) -> None:
    """Refuse a name that no flow of the database has, with the nearest one that has."""
    known = [str(each["name"]) for each in flows]
    if name not in known:
        where = did_you_mean(name, known) or "; `pgflow-yaml flows` lists them"
        raise NotFound(f'there is no flow "{name}" in this database{where}')
