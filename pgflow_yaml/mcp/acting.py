"""The tools that change something: as the commands do, in the name of the assistant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import lookup, outcomes
from pgflow_yaml.errors import PgflowError, WrongSetting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.client import Client
    from pgflow_yaml.language.model import Json

    Answer = dict[str, Any]


def start_run(
    client: Client,
    *,
    by: str,
    flow: str,
    input: Json = None,  # noqa: A002 (the language's word)
    key: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Answer:
    """Start a run of the active version of a flow; a label and the audit name the user."""
    lookup.active(client, flow)
    all_labels = {**(labels or {}), "started_by": by}
    started = client.start_run(flow, input, key=key, labels=all_labels, by=by)
    said = outcomes.found_by_key(started) or "started"
    return {"said": said, **started.as_json()}


def retry_run(  # noqa: PLR0913 (what a retry may be)
    client: Client,
    *,
    by: str,
    run: str,
    steps: Sequence[str] = (),
    from_steps: Sequence[str] = (),
    only_failed: bool = False,
    input: Json = None,  # noqa: A002 (the language's word)
    version: str | None = None,
    as_new: bool = False,
    dry_run: bool = False,
    yes: bool = False,
) -> Answer:
    """Run again what failed in a run, or say what that would be."""
    run_id = lookup.run_id(client, run)
    before = lookup.snapshot(client, run_id, outputs=False)
    for slug in (*steps, *from_steps):
        lookup.step(before, slug)
    if version not in (None, "latest"):
        version = lookup.version(client, before["run"]["flow"], version or "")
    call: dict[str, Any] = {
        "steps": steps,
        "from_steps": from_steps,
        "only_failed": only_failed,
        "input": input,
        "version": version,
        "as_new": as_new,
    }
    plan = client.retry(run_id, **call, dry_run=True)
    fact = outcomes.agreement(plan)
    if dry_run:
        said = [*outcomes.retried(plan, run_id), *([fact] if fact else [])]
        return {"said": said, "dry_run": True, **plan.as_json()}
    if fact is not None and not yes:
        raise WrongSetting(f"{fact}; yes: true agrees")
    retried = client.retry(run_id, **call, by=by)
    return {"said": list(outcomes.retried(retried, run_id)), **retried.as_json()}


def cancel_run(client: Client, *, by: str, run: str, reason: str | None = None) -> Answer:
    """Cancel a run; one that has ended stays as it is."""
    result = client.cancel(lookup.run_id(client, run), reason, by=by)
    return {"said": outcomes.cancelled(result), **result.as_json()}


def approve(client: Client, *, by: str, run: str, step: str, **given: Any) -> Answer:
    """Approve a step that waits for an event, or that will; `data` fills in its form."""
    return _decide(client, "approved", run, step, by=by, **given)


def reject(client: Client, *, by: str, run: str, step: str, **given: Any) -> Answer:
    """Reject a step that waits for an event: it fails."""
    return _decide(client, "rejected", run, step, by=by, **given)


def _decide(client: Client, intended: str, run: str, step: str, **given: Any) -> Answer:
    """Decide on a step; raise PgflowError with the decision that stands if it is another one."""
    run_id = lookup.run_id(client, run)
    lookup.step(lookup.snapshot(client, run_id, outputs=False), step)
    decide = client.approve if intended == "approved" else client.reject
    decision = decide(run_id, step, **given)
    if decision.status != intended:
        raise PgflowError(outcomes.decided(decision))
    return {"said": outcomes.decided(decision), **decision.as_json()}


def send_event(client: Client, *, by: str, run: str, event: str, data: Json = None) -> Answer:
    """Send an event to a run."""
    run_id = lookup.run_id(client, run)
    result = client.send(run_id, event, data, by=by)
    said = [outcomes.sent(result)]
    if result.stored and (unknown := outcomes.unknown_event(client, run_id, event)):
        said.append(unknown)
    return {"said": said, **result.as_json()}
