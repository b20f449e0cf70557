"""What steps wait for, in words: events, timers, runs of other flows, another call."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pgflow_yaml.text import duration, error_text, moment, one_line, plural, roughly

if TYPE_CHECKING:
    from .snapshot import AwaitedShape, ChildShape, Snapshot, StepShape, WaitsShape

SECONDS_IN_UNITS, LATE_SECONDS = 90, 2
# What an edge asks of its dependency, in words that follow its name.
ASKED = {"success": "", "failure": " to fail", "any": " to end"}
# In the name of a step or event: somebody is to decide, and steps may read who did. A snapshot
# does not have the formulas that would say so for certain.
_DECISIONS = ("approv", "review", "sign_off")


def wait_words(waits: WaitsShape, now: datetime, dot: str = " · ") -> str:
    """Say what a step waits for, and for how long at most."""
    until = moment(waits["until"]) if waits["until"] else None
    rest = f"{dot}{_rest((until - now).total_seconds())}" if until else ""
    match waits["kind"]:
        case "event":
            return f'waits for event "{one_line(waits["event"] or "")}"{rest}'
        case "timer":
            return (f"waits until {clock(until, now)}" if until else "waits") + rest
        case _:
            return f"waits for its runs{rest}"


def _rest(seconds: float) -> str:
    # Workers move the clock: where none is, a wait that is over stays one.
    return "over: any worker goes on" if seconds < -LATE_SECONDS else f"{left(seconds)} left"


def left(seconds: float) -> str:
    """Say how much time is left: `9 s`, `4 m 10 s`, `1 d 23 h`."""
    return roughly(seconds) if seconds < SECONDS_IN_UNITS else duration(seconds)


def clock(at: datetime, now: datetime) -> str:
    """Say when something is due: the time in UTC, with the date unless that is today's."""
    at = at.astimezone(UTC)
    form = "%H:%M:%SZ" if at.date() == now.astimezone(UTC).date() else "%Y-%m-%d %H:%MZ"
    return at.strftime(form)


def answer(run_id: str, step: str, event: str) -> str:
    """Give the command that ends a wait for an event: only a decision says who made it."""
    name = f"{step} {event}".lower()
    if any(word in name for word in _DECISIONS):
        return f"pgflow-yaml approve {run_id[:8]} {one_line(step)}"
    return f"pgflow-yaml send {run_id[:8]} {one_line(event)}"


def answered(step: StepShape) -> str:
    """Say who ended a wait for an event: `approved by ann: fine`, or nothing."""
    said = step["answer"]
    if said is None:
        return ""
    word = {True: "approved", False: "rejected", None: "sent"}[said["approved"]]
    comment = f": {one_line(said['comment'])}" if said["comment"] else ""
    return f"{word} by {one_line(said['by'])}{comment}"


def awaited(snapshot: Snapshot) -> list[AwaitedShape]:
    """List the events that a run and the runs below it wait for."""
    found: list[AwaitedShape] = []
    for step in snapshot["steps"]:
        waits = step["waits"]
        if waits and waits["kind"] == "event":
            found.append(
                {
                    "run_id": snapshot["run"]["id"],
                    "flow": snapshot["run"]["flow"],
                    "step": step["slug"],
                    "event": waits["event"] or "",
                    "until": waits["until"],
                }
            )
        found += step["awaited"]
    return found


def child_words(child: ChildShape, *, of_many: bool, dot: str = " · ") -> str:
    """Say how a child run stands: `[3] region 7c21ab90 running · 2 of 5 steps`."""
    index = f"[{child['index']}] " if of_many else ""
    status: str = "running" if child["status"] == "started" else child["status"]
    if child["status"] == "started" and child["outcome"]:
        status = f"{child['outcome']}, finally runs"
    counts = child["steps"]
    words = f"{index}{one_line(child['flow'])} {child['id'][:8]} {status}"
    if child["status"] == "failed":
        return f"{words}{dot}{error_text(child['error'])}"
    return f"{words}{dot}{counts['completed']:,} of {plural(counts['total'], 'step')}"


def waiting_for(step: StepShape) -> str:
    """Name the dependencies that a step waits for: `waits for charge to fail, reserve`."""
    named = [
        one_line(slug) + ASKED[step["edges"].get(slug, "success")] for slug in step["waiting_for"]
    ]
    return f"waits for {', '.join(named)}" if named else ""


def call_words(step: StepShape) -> str:
    """Say which call of a repeated step it is: `call 3 of 100`."""
    repeat = step["repeat"]
    if repeat is None:
        return ""
    most = f" of {repeat['max']:,}" if repeat["max"] else ""
    return f"call {step['iteration'] + 1:,}{most}"


def tolerated(step: StepShape) -> str:
    """Say how many items of a map may fail: `tolerate 5 %`, or nothing."""
    tolerate = step["tolerate"]
    if not tolerate:
        return ""
    if isinstance(tolerate, int):
        return f"tolerate {tolerate:,}"
    return f"tolerate {tolerate['percent']:g} %"


def action_words(step: StepShape) -> str:
    """Say what a step does: its handler, the flow that it runs, or what it waits for."""
    match step["action"]:
        case "flow":
            return f"flow {one_line(step['flow'] or '')}"
        case "wait":
            return "wait"
        case _:
            return one_line(step["handler"] or "")
