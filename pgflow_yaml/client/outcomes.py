"""The effect of an action in a sentence: the same one on every screen.

`when` formats a time; by default it is written out, in UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import NotFound
from pgflow_yaml.language.suggestions import did_you_mean
from pgflow_yaml.runs.retrying import kept_words, names
from pgflow_yaml.runs.snapshot import STATUS_PHRASES
from pgflow_yaml.text import utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pgflow_yaml.client import (
        Cancelled,
        Client,
        Decision,
        Deployed,
        Preview,
        Retried,
        Sent,
        Started,
    )
    from pgflow_yaml.language.model import Json

    When = Callable[[str], str]


def cancelled(result: Cancelled) -> str:
    """Return the outcome of a cancel."""
    if not result.cancelled:
        return f"had ended already: {result.status}"
    if result.status == "started":
        now = "stopping" if result.outcome == "cancelled" else f"had {result.outcome} already"
        return f"{now}; its clean-up goes on: cancel it again to end it at once"
    return "cancelled" if result.status == "cancelled" else f"ended: {result.status}"


def decided(decision: Decision, when: When = utc) -> str:
    """Return the decision that stands: `go_live approved by ada`."""
    if decision.applied:
        return f"{decision.step} {decision.status} by {decision.by}"
    return (
        f"nothing changed: {decision.step} was {decision.status} by {decision.by}"
        f" {when(decision.at.isoformat())}"
    )


def sent(result: Sent) -> str:
    """Return what an event did."""
    if result.already:
        return f'nothing changed: an earlier event "{result.event}" stands'
    if result.stored:
        return f'kept: no step waits for "{result.event}" yet'
    return f"completed {', '.join(result.steps)}"


def unknown_event(client: Client, run_id: str, event: str) -> str | None:
    """Return that no step of a run waits for an event of this name; None if one does.

    It is most likely a typing mistake.
    """
    try:
        run = client.run_snapshot(run_id, outputs=False)["run"]
    except NotFound:  # deleted meanwhile
        return None
    stored = client.get_definition(run["flow"], run["version"])
    known = _events(stored.definition if stored else {})
    if stored is None or event in known:
        return None
    hint = did_you_mean(event, known) or (
        f"; they wait for {', '.join(known)}" if known else "; none waits for any"
    )
    return f'no step of {run["flow"]} waits for an event "{event}"{hint}'


def _events(definition: Mapping[str, Any]) -> list[str]:
    steps: dict[str, Json] = {**definition.get("steps", {}), **definition.get("finally", {})}
    waits = (step.get("wait") for step in steps.values() if isinstance(step, dict))
    return sorted(
        {str(wait["event"]) for wait in waits if isinstance(wait, dict) and "event" in wait}
    )


def found_by_key(started: Started, *, debounced: bool = False) -> str | None:
    """Return that a start with a key found a run; None if it made one."""
    if started.created:
        return None
    if debounced:
        return "the run that waits for this key has the new input, and is postponed"
    return f"this key was used before: its run {STATUS_PHRASES[started.status]}"


def agreement(plan: Retried) -> str | None:
    """Return which completed steps a retry would run again; None if it would run none."""
    if not plan.completed_again:
        return None
    return f"already completed, and would run again: {names(plan.completed_again)}"


def retried(result: Retried, run_id: str) -> Iterator[str]:
    """Yield what a retry of a run runs again, what it keeps, and what it leaves alone.

    It says the same of a retry that was tried only.
    """
    items = {slug: (some["kept"], some["total"]) for slug, some in result.items_kept.items()}
    kept = kept_words(result.kept, items)
    yield f"again: {names(result.again) or 'the output'}" + (f" · kept: {kept}" if kept else "")
    for slug in result.handled:
        yield f'left alone: the failure of "{slug}" was handled; retry --from {slug} runs it again'
    if result.run_id != run_id:
        yield f"copy of run {run_id[:8]}: {result.run_id}"


def deployed(result: Deployed | Preview) -> str:
    """Return what became of a version: `compiled order 8c41e07b52d1`."""
    words = {"created": "compiled", "activated": "activated", "unchanged": "unchanged"}
    aside = "" if result.active else " (another version is active)"
    return f"{words[result.status]} {result.name} {result.version}{aside}"


def paused(row: Mapping[str, Json], when: When = utc) -> str:
    """Return what a pause did to a schedule or a queue: a row of `Client.pause`."""
    if not row["already"]:
        return f"{_subject(row)}  paused"
    return f"{_subject(row)}  was paused by {row['paused_by']} {when(str(row['paused_at']))}"


def resumed(row: Mapping[str, Json]) -> str:
    """Return what `resume` did to a schedule or a queue: a row of `Client.resume`."""
    return f"{_subject(row)}  {'resumed' if row['resumed'] else 'was not paused'}"


def _subject(row: Mapping[str, Json]) -> str:
    return f"queue {row['queue']}" if "queue" in row else f"{row['flow']}  {row['name']}"
