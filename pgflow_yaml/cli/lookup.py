"""From what was typed to a run, flow or step; what is missing is answered with what is near."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.errors import NotFound
from pgflow_yaml.language.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.client import Client, FlowSummary, StoredVersion
    from pgflow_yaml.runs.snapshot import Snapshot, StepShape


def run_id(client: Client, text: str) -> str:
    """Find a run by its id, a unique prefix of that, its key, or `last`."""
    found = client.find_run(text)
    if not found and text == "last":
        raise NotFound("there is no run in this database yet; `pgflow-yaml run` starts one")
    if not found:
        raise NotFound(f'there is no run "{text}"; `pgflow-yaml runs` lists them')
    if len(found) > 1:
        some = ", ".join(each[:13] for each in found)
        raise click.UsageError(
            f'"{text}" is the beginning of several runs ({some}): write more of it'
        )
    return found[0]


def snapshot(client: Client, run: str, **wanted: Any) -> Snapshot:
    """Read a run; it was found a moment ago, but may have been deleted since."""
    try:
        return client.run_snapshot(run, **wanted)
    except NotFound:
        raise NotFound(f"run {run} is gone: it was deleted meanwhile") from None


def active(client: Client, flow: str) -> StoredVersion:
    """Read the active version of a flow; what is not there is answered with what is near."""
    found = client.get_definition(flow)
    if found is None:
        must_be_flow(client.list_flows(), flow)
        raise NotFound(f'flow "{flow}" has no active version; `pgflow-yaml activate` chooses one')
    return found


def version(client: Client, flow: str, text: str) -> str:
    """Find a version of a flow by the beginning of it."""
    must_be_flow(client.list_flows(), flow)
    found = [summary.version for summary in client.list_versions(flow)]
    found = [each for each in found if each.startswith(text)]
    if not found:
        raise NotFound(
            f'flow "{flow}" has no version "{text}"; `pgflow-yaml versions {flow}` lists them'
        )
    if len(found) > 1:
        raise click.UsageError(
            f'"{text}" is the beginning of several versions ({", ".join(found)}): write more of it'
        )
    return str(found[0])


def step(run: Snapshot, slug: str) -> StepShape:
    """Find a step of a run."""
    for each in run["steps"]:
        if each["slug"] == slug:
            return each
    near = did_you_mean(slug, [each["slug"] for each in run["steps"]])
    raise NotFound(f'flow "{run["run"]["flow"]}" has no step "{slug}"{near}')


def must_be_flow(flows: Sequence[FlowSummary], name: str) -> None:
    """Refuse a name that no flow of the database has, with the nearest one that has."""
    known = [flow.name for flow in flows]
    if name not in known:
        where = did_you_mean(name, known) or "; `pgflow-yaml flows` lists them"
        raise NotFound(f'there is no flow "{name}" in this database{where}')
