"""What happened between two snapshots of a run: as JSON lines, and as lines for a log.

Both are pure: `{"event": "run" | "step" | "task", "at", "step", "index", "status", …}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from pgflow_yaml.text import duration, error_text, moment, one_line, roughly, utc

from .failures import Fate, fates, handled
from .snapshot import ENDED, FailedAttempt, RunShape, Snapshot, StepShape
from .steps import is_wide, skip_words
from .waits import wait_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .snapshot import ErrorShape, TasksShape, WaitsShape

PROGRESS_SHARES = 10


class Event(TypedDict, total=False):
    """One thing that happened; field names are those of `--json`."""

    event: str
    at: str
    run: str
    flow: str
    version: str
    step: str
    index: int | None
    status: str
    attempt: int
    max_attempts: int
    final: bool
    retry_at: str | None
    skip_reason: str | None
    seconds: float
    tasks: TasksShape
    error: ErrorShape | None
    outcome: str
    waits: WaitsShape | None
    children: list[str]
    iteration: int
    caught_by: list[str]
    steps: list[str]
    handled: dict[str, list[str]]


def changes(before: Snapshot | None, after: Snapshot) -> list[Event]:
    """List what happened from one snapshot to the next, in the order of the database's clock."""
    known = {step["slug"]: step for step in before["steps"]} if before else {}
    events = list(_run_begins(after["run"])) if before is None else []
    steps = {step["slug"]: step for step in after["steps"]}
    fate = fates(after)
    found = [
        event
        for step in after["steps"]
        for event in _of_step(known.get(step["slug"]), step, after["now"], fate.get(step["slug"]))
    ]
    found += [_of_failure(failure, steps) for failure in after["errors"]]
    # One transaction is one moment: there a step ends before the next begins, and its failure
    # comes before its end.
    order = {slug: step["index"] for slug, step in steps.items()}
    found.sort(key=lambda each: (moment(each["at"]), order.get(each["step"], 0), _rank(each)))
    events += found
    if _newly_stopping(before, after):
        events.append(_run_stops(after))
    if before is None or before["run"]["status"] != after["run"]["status"]:
        events += _run_ends(after)
    return events


def _newly_stopping(before: Snapshot | None, after: Snapshot) -> bool:
    run = after["run"]
    known = bool(before and before["run"]["outcome"])
    return run["status"] == "started" and bool(run["outcome"]) and not known


def _run_stops(after: Snapshot) -> Event:
    """Tell an outcome that is known while the last steps are still to come."""
    return {
        "event": "run",
        "at": after["now"],
        "run": after["run"]["id"],
        "status": "stopping",
        "outcome": after["run"]["outcome"] or "",
        "steps": [step["slug"] for step in after["steps"] if step["finally"]],
    }


def _rank(event: Event) -> int:
    return 1 if event["event"] == "task" else 0 if event["status"] == "started" else 2


def _run_begins(run: RunShape) -> Iterator[Event]:
    yield {
        "event": "run",
        "at": run["started_at"] or run["created_at"],
        "run": run["id"],
        "flow": run["flow"],
        "version": run["version"],
        "status": "started",
    }


def _run_ends(after: Snapshot) -> Iterator[Event]:
    run = after["run"]
    if run["ended_at"]:
        begun = moment(run["started_at"] or run["created_at"])
        event: Event = {
            "event": "run",
            "at": run["ended_at"],
            "run": run["id"],
            "status": run["status"],
            "seconds": (moment(run["ended_at"]) - begun).total_seconds(),
            "error": run["error"],
        }
        if caught := handled(after):
            event["handled"] = {slug: list(by) for slug, by in caught.items()}
        yield event


def _of_step(
    before: StepShape | None, after: StepShape, at: str, fate: Fate | None
) -> Iterator[Event]:
    """Compare two looks at a step; `at` is when the later one was taken."""
    was = before["status"] if before else "created"
    now = after["status"]
    if was == "created" and after["started_at"] and now != "created":
        yield _step_event(after, "started", after["started_at"])
    if now != was and now in ENDED:
        event = _step_event(after, now, after["ended_at"] or at)
        if fate and fate.by:
            event["caught_by"] = list(fate.by)
        yield event
    elif now == "waiting" and _new_wait(before, after):
        yield {
            **_step_event(after, now, after["started_at"] or at),
            "waits": after["waits"],
            "children": after["children"],
        }
    elif before and after["iteration"] > before["iteration"] and not is_wide(after):
        yield {
            **_step_event(after, "started", at),
            "iteration": after["iteration"],
            "retry_at": after["retry_at"],
        }
    elif now in {"started", "waiting"} and _share(after) > (_share(before) if before else 0):
        yield _step_event(after, "started", at)


def _new_wait(before: StepShape | None, after: StepShape) -> bool:
    """Tell whether a step waits that did not; of many children, that is told once."""
    if before is None or before["status"] != "waiting":
        return True
    return not is_wide(after) and before["children"] != after["children"]


def _share(step: StepShape) -> int:
    """Count the tenths of a wide step that are done: a log wants ten lines, not 10,000."""
    tasks = step["tasks"]
    return (
        PROGRESS_SHARES * tasks["completed"] // tasks["total"]
        if is_wide(step) and tasks["total"]
        else 0
    )


def _step_event(step: StepShape, status: str, at: str) -> Event:
    event: Event = {
        "event": "step",
        "at": at,
        "step": step["slug"],
        "index": None,
        "status": status,
    }
    if is_wide(step):
        event["tasks"] = step["tasks"]
    if status == "skipped":
        event["skip_reason"] = step["skip_reason"]
    if status in ENDED and step["started_at"]:
        event["seconds"] = (moment(at) - moment(step["started_at"])).total_seconds()
    if status == "failed":
        event["error"] = step["error"]
    return event


def _of_failure(failure: FailedAttempt, steps: Mapping[str, StepShape]) -> Event:
    step = steps.get(failure["step"])
    return {
        "event": "task",
        "at": failure["at"],
        "step": failure["step"],
        "index": failure["index"] if step and is_wide(step) else None,
        "status": "failed",
        "attempt": failure["attempt"],
        "max_attempts": step["max_attempts"] if step else failure["attempt"],
        "final": failure["final"],
        "retry_at": failure["retry_at"],
        "error": {"type": failure["type"], "message": failure["message"]},
    }


def line(event: Event, column: int = 12) -> str:
    """Say an event on one line: `12:00:03.120Z  charge  attempt 2 of 5 failed  CardTimeout: …`."""
    where = event.get("step", event["event"])
    index = event.get("index")
    name = one_line(where) + (f"[{index}]" if index is not None else "")
    return f"{utc(event['at'])[11:]}  {name:<{column}}  {_words(event)}".rstrip()


def _words(event: Event) -> str:
    match event["event"]:
        case "run" if event["status"] == "started":
            name = f"{one_line(event['flow'])} {event['run'][:8]}"
            return f"{name} version {event['version'][:12]} started"
        case "run" if event["status"] == "stopping":
            return f"stopping: {event['outcome']}; then finally: {', '.join(event['steps'])}"
        case "run":
            took = f"after {duration(event['seconds'])}"
            told = "; ".join(
                f"the failure of {one_line(slug)} was handled by {', '.join(by)}"
                for slug, by in event.get("handled", {}).items()
            )
            return "  ".join(filter(None, [f"{event['status']} {took}", run_error(event), told]))
        case "task":
            return _failed_attempt(event)
        case _:
            return _step_words(event)


def run_error(run: Event | RunShape) -> str:
    """Say why a run has ended so, unless that says no more than its status."""
    error = run.get("error")
    if error and error.get("message") == run["status"]:
        return ""
    return error_text(error)


def _failed_attempt(event: Event) -> str:
    retry_at = event.get("retry_at")
    tried = f"attempt {event['attempt']} of {event['max_attempts']}"
    words = f"{tried} failed  {error_text(event.get('error'))}"
    if event["final"]:
        return words
    if not retry_at:
        return f"{words}; again soon"
    return f"{words}; again in {roughly((moment(retry_at) - moment(event['at'])).total_seconds())}"


def _step_words(event: Event) -> str:
    if event["status"] == "waiting":
        return _waiting_words(event)
    if "iteration" in event:
        retry_at = event.get("retry_at")
        wait = (moment(retry_at) - moment(event["at"])).total_seconds() if retry_at else 0
        again = f"; again in {roughly(wait)}" if wait > 0 else "; again soon"
        return f"call {event['iteration']:,}{again}"
    tasks = event.get("tasks")
    words = event["status"]
    if "skip_reason" in event:
        words += f": {skip_words(event['skip_reason'])}"
    if tasks and event["status"] in {"started", "completed", "failed"}:
        done = f"{tasks['completed']:,} of {tasks['total']:,}"
        if event["status"] == "started":
            words = f"{done} done" if tasks["completed"] else f"started  {tasks['total']:,} tasks"
        else:
            words += f"  {done}"
        words += f", {tasks['failed']:,} failed" if tasks["failed"] else ""
    elif "error" in event:
        words += f"  {error_text(event.get('error'))}"
    if "seconds" in event:
        words += f"  {duration(event['seconds'])}"
    if "caught_by" in event:
        words += f"  caught by {', '.join(map(one_line, event['caught_by']))}"
    return words


def _waiting_words(event: Event) -> str:
    waits = event.get("waits")
    if waits is None:
        return "waiting"
    if waits["kind"] == "child":
        runs = [each[:8] for each in event.get("children", [])]
        return f"runs {runs[-1]}" if len(runs) == 1 else f"runs {len(runs):,} flows"
    return wait_words(waits, moment(event["at"]))
