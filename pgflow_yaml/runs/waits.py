"""The waits of a step, in words: for an event, a timer or the runs of another flow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgflow_yaml.text import duration, error_text, moment, one_line, plural, roughly, utc

from .run import run_name, run_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json

    from .snapshot import AwaitedShape, ChildShape, RunShape, Snapshot, StepShape, WaitsShape

SECONDS_IN_UNITS, LATE_SECONDS = 90, 2
# In the name of a step or event, these suggest a decision, whose author later steps may read. A
# snapshot does not have the expressions that would show it for certain.
_DECISIONS = ("approv", "review", "sign_off")


def wait(waits: WaitsShape, now: datetime) -> list[str]:
    """Return the wait of a step in words, and its time limit as a second phrase if it has one."""
    if not waits["until"]:
        return [_awaited(waits)]
    until = moment(waits["until"])
    words = f"waits until {_clock(until, now)}" if waits["kind"] == "timer" else _awaited(waits)
    return [words, _left((until - now).total_seconds())]


def wait_until(waits: WaitsShape) -> str:
    """Format a wait without the current time, so that the text is always the same."""
    return _awaited(waits) + (f" until {utc(waits['until'])}" if waits["until"] else "")


def _awaited(waits: WaitsShape) -> str:
    match waits["kind"]:
        case "event":
            return event_words(waits)
        case "timer":
            return "waits"
        case _:
            return "waits for its runs"


def event_words(waits: Mapping[str, Any]) -> str:
    """Format what a step waits for, and who may decide: `waits for event "x" from ann or bob`."""
    who = " or ".join(map(one_line, waits.get("by", ())))
    return f'waits for event "{one_line(waits["event"] or "")}"' + (f" from {who}" if who else "")


def _left(seconds: float) -> str:
    # A worker ends a wait whose time is up; without a worker, it stays a wait.
    if seconds < -LATE_SECONDS:
        return "over: any worker goes on"
    return f"{roughly(seconds) if seconds < SECONDS_IN_UNITS else duration(seconds)} left"


def _clock(at: datetime, now: datetime) -> str:
    """Format a time in UTC, with the date unless that is today's."""
    at = at.astimezone(UTC)
    form = "%H:%M:%SZ" if at.date() == now.astimezone(UTC).date() else "%Y-%m-%d %H:%MZ"
    return at.strftime(form)


def awaited_events(step: StepShape, run: RunShape) -> list[AwaitedShape]:
    """Return the events that a step, or a run below it, waits for."""
    waits = step["waits"]
    if not waits or waits["kind"] != "event":
        return step["awaited"]
    own: AwaitedShape = {
        "run_id": run["id"],
        "flow": run["flow"],
        "step": step["slug"],
        "event": waits["event"] or "",
        "until": waits["until"],
    }
    if "form" in waits:
        own["form"] = waits["form"]
    if "by" in waits:
        own["by"] = waits["by"]
    return [own, *step["awaited"]]


def all_awaited_events(snapshot: Snapshot) -> list[AwaitedShape]:
    """Return the events that a run and the runs below it wait for."""
    run = snapshot["run"]
    return [event for step in snapshot["steps"] for event in awaited_events(step, run)]


def answer_command(event: AwaitedShape) -> str:
    """Return the command that ends a wait: `approve` if a decision is expected, else `send`."""
    name = f"{event['step']} {event['event']}".lower()
    is_decided = "form" in event or "by" in event
    if is_decided or any(word in name for word in _DECISIONS):
        approve = f"pgflow-yaml approve {event['run_id'][:8]} {one_line(event['step'])}"
        return approve + _data_option(event.get("form", {}))
    return f"pgflow-yaml send {event['run_id'][:8]} {one_line(event['event'])}"


def _data_option(form: Mapping[str, Json]) -> str:
    """Return the option with the fields that a form requires; nothing if it requires none."""
    required = [
        name
        for name, schema in form.items()
        if not (isinstance(schema, dict) and "default" in schema)
    ]
    fields = ", ".join(f'"{name}": …' for name in required)
    return f" --data '{{{fields}}}'" if required else ""


def answer(step: StepShape) -> str:
    """Format the end of a wait for an event: `approved by ann: fine`, or nothing."""
    answered = step["answer"]
    if answered is None:
        return ""
    verb = {True: "approved", False: "rejected", None: "sent"}[answered["approved"]]
    comment = f": {one_line(answered['comment'])}" if answered["comment"] else ""
    return f"{verb} by {one_line(answered['by'])}{comment}"


def child_run(child: ChildShape, *, of_many: bool) -> list[str]:
    """Return the name and status of a child run, and its progress: two phrases.

    `[3] region 7c21ab90 running` and `2 of 5 steps`, or its error if it has failed.
    """
    index = f"[{child['index']}] " if of_many else ""
    counts = child["steps"]
    progress = (
        error_text(child["error"])
        if child["status"] == "failed"
        else f"{counts['done']:,} of {plural(counts['total'], 'step')}"
    )
    return [f"{index}{run_name(child)} {run_status(child)}", progress]
