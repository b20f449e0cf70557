"""Look-up of runs, flows, versions and steps by what a person writes, with near names for typos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import NotFound, WrongSetting
from pgflow_yaml.language.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.client import Client, FlowSummary, StoredVersion
    from pgflow_yaml.runs.snapshot import Snapshot, StepShape


def run_id(client: Client, text: str) -> str:
    """Return the id of a run by its id, `last`, its key, or the beginning of its id.

    Raises NotFound, and WrongSetting for a text that means several runs.
    """
    run_ids = client.find_run(text)
    if not run_ids and text == "last":
        raise NotFound("a run was never started in this database; `pgflow-yaml run` starts one")
    if not run_ids:
        raise NotFound(f'there is no run "{text}"; {_instead_of_run(client, text)}')
    if len(run_ids) > 1:
        begins = all(match.replace("-", "").startswith(text.replace("-", "")) for match in run_ids)
        if begins:
            listed = ", ".join(match[:13] for match in run_ids)
            problem = f"is the beginning of several runs ({listed}): write more of it"
        else:
            problem = f"is the key of several runs: write an id ({', '.join(run_ids)})"
        raise WrongSetting(f'"{text}" {problem}')
    return run_ids[0]


def _instead_of_run(client: Client, text: str) -> str:
    """Return what to write where a flow was named in place of a run."""
    if text in (flow.name for flow in client.list_flows(counts=False)):
        return f"that is a flow, and `pgflow-yaml runs --flow {text}` lists its runs"
    return "`pgflow-yaml runs` lists them"


def snapshot(client: Client, run: str, **arguments: Any) -> Snapshot:
    """Return the snapshot of a run, which may have been deleted since its look-up."""
    try:
        return client.run_snapshot(run, **arguments)
    except NotFound:
        raise NotFound(f"run {run} is gone: it was deleted meanwhile") from None


def active(client: Client, flow: str) -> StoredVersion:
    """Return the active version of a flow; raises NotFound with a similar name."""
    stored = client.get_definition(flow)
    if stored is None:
        must_be_flow(client.list_flows(counts=False), flow)
        raise NotFound(f'flow "{flow}" has no active version; `pgflow-yaml activate` chooses one')
    return stored


def version(client: Client, flow: str, text: str) -> str:
    """Return the version of a flow that begins with a text.

    Raises NotFound, and WrongSetting for the beginning of several versions.
    """
    must_be_flow(client.list_flows(counts=False), flow)
    versions = [summary.version for summary in client.list_versions(flow)]
    matches = [name for name in versions if name.startswith(text)]
    if not matches:
        raise NotFound(
            f'flow "{flow}" has no version "{text}"; `pgflow-yaml versions {flow}` lists them'
        )
    if len(matches) > 1:
        listed = ", ".join(matches)
        raise WrongSetting(
            f'"{text}" is the beginning of several versions ({listed}): write more of it'
        )
    return str(matches[0])


def step(run: Snapshot, slug: str) -> StepShape:
    """Return a step of a run; raises NotFound with a similar name."""
    for state in run["steps"]:
        if state["slug"] == slug:
            return state
    near = did_you_mean(slug, [state["slug"] for state in run["steps"]])
    raise NotFound(f'flow "{run["run"]["flow"]}" has no step "{slug}"{near}')


def must_be_flow(flows: Sequence[FlowSummary], name: str) -> None:
    """Raise NotFound with a similar name unless the database has this flow."""
    known = [flow.name for flow in flows]
    if name not in known:
        hint = did_you_mean(name, known) or "; `pgflow-yaml flows` lists them"
        raise NotFound(f'there is no flow "{name}" in this database{hint}')
