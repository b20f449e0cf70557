"""The events between two snapshots of a run: as JSON lines, and as lines for a log.

An event is `{"event": "run" | "step" | "task", "at", "step", "index", "status", …}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from pgflow_yaml.text import duration, elapsed, error_text, moment, one_line, plural, roughly, utc

from . import steps
from .failures import FailureHandling, failure_handling, handled_failures, handled_sentence
from .run import began_at, run_error
from .snapshot import ENDED, FailedAttempt, RunShape, Snapshot, StepShape
from .waits import wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .snapshot import ErrorShape, TasksShape, WaitsShape

PROGRESS_SHARES = 10


class Event(TypedDict, total=False):
    """One thing that happened; field names are those of `--json`."""

    event: str
    at: str
    run: str
    flow: str
    version: str | None
    step: str
    index: int | None
    status: str
    attempt: int
    max_attempts: int
    final: bool
    retry_at: str | None
    skip_reason: str | None
    reason: str
    seconds: float
    usual_seconds: float | None
    tasks: TasksShape
    map: bool
    error: ErrorShape | None
    outcome: str
    waits: WaitsShape | None
    children: list[str]
    iteration: int
    caught_by: list[str]
    steps: list[str]
    handled: dict[str, list[str]]


def changes(before: Snapshot | None, after: Snapshot) -> list[Event]:
    """Return the events from one snapshot to the next, in the order of the database's clock."""
    old_steps = {step["slug"]: step for step in before["steps"]} if before else {}
    new_steps = steps.by_slug(after["steps"])
    handling = failure_handling(after)
    events = [
        event
        for slug, step in new_steps.items()
        for event in _of_step(old_steps.get(slug), step, after["now"], handling.get(slug))
    ]
    events += [_of_failure(failure, new_steps) for failure in current(after["errors"])]
    # All events of a transaction have the same time. Among them a step ends before the next one
    # begins, and its failure comes before its end.
    for event in events:
        if event["status"] == "skipped":
            event["reason"] = steps.skip_reason(new_steps[event["step"]], new_steps)
    order = {slug: step["index"] for slug, step in new_steps.items()}
    events.sort(key=lambda event: (moment(event["at"]), order.get(event["step"], 0), _rank(event)))
    if before is None:
        began = moment(began_at(after["run"]))
        # What a retry has kept happened before it.
        events = [event for event in events if moment(event["at"]) >= began]
        events.insert(0, _run_begins(after["run"]))
        if "usual_seconds" in after:
            events[0]["usual_seconds"] = after["usual_seconds"]
    return events + list(_of_run(before["run"] if before else None, after))


def current(errors: Iterable[FailedAttempt]) -> list[FailedAttempt]:
    """Return the failed attempts that were not before a retry."""
    return [error for error in errors if not error.get("past")]


def _rank(event: Event) -> int:
    return 1 if event["event"] == "task" else 0 if event["status"] == "started" else 2


def _run_begins(run: RunShape) -> Event:
    return {
        "event": "run",
        "at": began_at(run),
        "run": run["id"],
        "flow": run["flow"],
        "version": run["version"],
        "status": "started",
    }


def _of_run(before: RunShape | None, after: Snapshot) -> Iterator[Event]:
    """Yield an event when the outcome of a run is known before its end, and one for its end."""
    run = after["run"]
    if run["status"] == "started" and run["outcome"] and not (before and before["outcome"]):
        yield {
            "event": "run",
            "at": after["now"],
            "run": run["id"],
            "status": "stopping",
            "outcome": run["outcome"],
            "steps": [step["slug"] for step in after["steps"] if step["finally"]],
        }
    if run["ended_at"] and (before is None or before["status"] != run["status"]):
        event: Event = {
            "event": "run",
            "at": run["ended_at"],
            "run": run["id"],
            "status": run["status"],
            "seconds": elapsed(began_at(run), moment(run["ended_at"])),
            "error": run["error"],
        }
        if handled := handled_failures(after):
            event["handled"] = {slug: list(by) for slug, by in handled.items()}
        yield event


def _of_step(
    before: StepShape | None, after: StepShape, at: str, handling: FailureHandling | None
) -> Iterator[Event]:
    """Yield the event of a step between two snapshots, the later one taken `at`."""
    was = before["status"] if before else "created"
    now = after["status"]
    if was == "created" and after["started_at"] and now != "created":
        yield _step_event(after, "started", after["started_at"])
    if now != was and now in ENDED:
        event = _step_event(after, now, after["ended_at"] or at)
        if handling and handling.by:
            event["caught_by"] = list(handling.by)
        yield event
    elif now == "waiting" and _new_wait(before, after):
        yield {
            **_step_event(after, now, (was == "created" and after["started_at"]) or at),
            "waits": after["waits"],
            "children": after["children"],
        }
    elif before and after["iteration"] > before["iteration"] and not steps.is_wide(after):
        yield {
            **_step_event(after, "started", at),
            "iteration": after["iteration"],
            "retry_at": after["retry_at"],
        }
    elif before and was != "created" and _tenths(after) > _tenths(before) and now not in ENDED:
        yield _step_event(after, "started", at)


def _new_wait(before: StepShape | None, after: StepShape) -> bool:
    """Return true for a step that begins to wait, or that waits for another child run."""
    if before is None or before["status"] != "waiting":
        return True
    return not steps.is_wide(after) and before["children"] != after["children"]


def _tenths(step: StepShape) -> int:
    """Return the completed tenths of a wide step: a log gets ten lines, not 10,000."""
    tasks = step["tasks"]
    if not steps.is_wide(step) or not tasks["total"]:
        return 0
    return PROGRESS_SHARES * tasks["completed"] // tasks["total"]


def _step_event(step: StepShape, status: str, at: str) -> Event:
    event: Event = {
        "event": "step",
        "at": at,
        "step": step["slug"],
        "index": None,
        "status": status,
    }
    if steps.is_wide(step):
        event["tasks"] = step["tasks"]
        event["map"] = step["map"]
    if status == "skipped":
        event["skip_reason"] = step["skip_reason"]
    if status in ENDED and step["started_at"]:
        event["seconds"] = elapsed(step["started_at"], moment(at))
    if status == "failed":
        event["error"] = step["error"]
    return event


def _of_failure(failure: FailedAttempt, by_slug: Mapping[str, StepShape]) -> Event:
    step = by_slug.get(failure["step"])
    return {
        "event": "task",
        "at": failure["at"],
        "step": failure["step"],
        "index": failure["index"] if step and steps.is_wide(step) else None,
        "status": "failed",
        "attempt": failure["attempt"],
        "max_attempts": step["max_attempts"] if step else failure["attempt"],
        "final": failure["final"],
        "retry_at": failure["retry_at"],
        "error": {"type": failure["type"], "message": failure["message"]},
    }


def line(event: Event, column: int = 12) -> str:
    """Format an event: `12:00:03.120Z  charge  attempt 2 of 5 failed  CardTimeout: …`."""
    index = event.get("index")
    subject = event.get("step", event["event"])
    name = one_line(subject) + (f"[{index}]" if index is not None else "")
    return f"{utc(event['at'])[11:]}  {name:<{column}}  {_words(event)}".rstrip()


def _words(event: Event) -> str:
    match event["event"]:
        case "run":
            return _run_words(event)
        case "task":
            tried = f"attempt {event['attempt']:,} of {event['max_attempts']:,} failed"
            again = "" if event["final"] else f"; {_again(event)}"
            return f"{tried}  {error_text(event.get('error'))}{again}"
        case _ if event["status"] == "waiting":
            return _waiting_words(event)
        case _ if "iteration" in event:
            return f"call {event['iteration']:,}; {_again(event)}"
        case _:
            return "  ".join(filter(None, _step_words(event)))


def _run_words(event: Event) -> str:
    match event["status"]:
        case "started":
            name = f"{one_line(event['flow'])} {event['run'][:8]}"
            version = f" version {event['version'][:12]}" if event["version"] else ""
            usual = event.get("usual_seconds")
            usually = f", usually takes {duration(usual)}" if usual is not None else ""
            return f"{name}{version} started{usually}"
        case "stopping":
            finals = ", ".join(event["steps"])
            then = f"then finally: {finals}" if finals else "its child runs end first"
            return f"stopping: {event['outcome']}; {then}"
        case status:
            ended = f"{status} after {duration(event['seconds'])}"
            handled = [handled_sentence(*failure) for failure in event.get("handled", {}).items()]
            parts = [ended, run_error(status, event.get("error")), "; ".join(handled)]
            return "  ".join(filter(None, parts))


def _again(event: Event) -> str:
    retry_at = event.get("retry_at")
    pause = elapsed(event["at"], moment(retry_at)) if retry_at else 0
    return f"again in {roughly(pause)}" if pause > 0 else "again soon"


def _step_words(event: Event) -> Iterator[str]:
    tasks, status = event.get("tasks"), event["status"]
    if "skip_reason" in event:
        yield f"{status}: {event['reason']}"
    elif tasks and status in {"started", "completed", "failed"}:
        yield from _progress(status, tasks, "item" if event["map"] else "task")
    else:
        yield status
        yield error_text(event.get("error"))
    if "seconds" in event:
        yield duration(event["seconds"])
    if "caught_by" in event:
        yield FailureHandling("open", tuple(event["caught_by"])).text


def _progress(status: str, tasks: TasksShape, noun: str) -> Iterator[str]:
    done = f"{tasks['completed']:,} of {tasks['total']:,}"
    failed = f", {tasks['failed']:,} failed" if tasks["failed"] else ""
    if status != "started":
        yield from (status, f"{done}{failed}")
    elif tasks["completed"]:
        yield f"{done} done{failed}"
    else:
        yield from ("started", f"{plural(tasks['total'], noun)}{failed}")


def _waiting_words(event: Event) -> str:
    waits = event.get("waits")
    if waits is None:
        return "waiting"
    if waits["kind"] == "child":
        children = [run_id[:8] for run_id in event.get("children", [])]
        return f"runs {children[0]}" if len(children) == 1 else f"runs {len(children):,} flows"
    return " · ".join(wait(waits, moment(event["at"])))
