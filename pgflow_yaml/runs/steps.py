"""The facts of one step of a run: each is derived here, and the screens only lay them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pgflow_yaml.text import clean, elapsed, error_text, moment, one_line, plural

from .snapshot import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from .failures import FailureHandling
    from .snapshot import ChildShape, FailedAttempt, ProgressShape, StepShape

Condition = Literal[
    "created",
    "started",
    "repeating",
    "retrying",
    "waiting",
    "completed",
    "failed",
    "caught",
    "skipped",
    "cancelled",
]
Phase = Literal["running", "delayed", "queued"]

_SKIP_REASONS = {
    "condition_unmet": "condition not met",
    "dependency_skipped": "a step before it did not complete",
    "handler_failed": "it failed, which is allowed",
}
# With fewer tasks done, or in less time, an estimate for the others would be a guess.
_TASKS_FOR_ESTIMATE, _SECONDS_FOR_ESTIMATE = 3, 1


def condition(step: StepShape, now: datetime, handling: FailureHandling | None) -> Condition:
    """Return the condition of a step: its status, refined by its tasks, wait and failure."""
    match step["status"]:
        case "failed":
            return "caught" if handling and handling.kind != "unhandled" else "failed"
        case "waiting":
            # The step runs while its child does, and waits while the child waits for an event.
            waits = step["waits"]
            works = waits and waits["kind"] == "child" and not step["awaited"]
            return "started" if works else "waiting"
        case "started" if phase(step, now) == "delayed":
            return "repeating" if step["iteration"] else "retrying"
        case status:
            return status


def phase(step: StepShape, now: datetime) -> Phase:
    """Return the phase of a started step: a task runs, may not run yet, or is queued."""
    if step["tasks"]["started"]:
        return "running"
    return "delayed" if delay(step, now) > 0 else "queued"


def delay(step: StepShape, now: datetime) -> float:
    """Return the seconds until the next attempt or call of a step, 0 if it is due."""
    return max(-elapsed(step["retry_at"], now), 0) if step["retry_at"] else 0


def seconds(step: StepShape, now: datetime) -> float | None:
    """Return the duration of a step in seconds, so far if it still runs; None if not started."""
    if not step["started_at"]:
        return None
    return elapsed(step["started_at"], moment(step["ended_at"]) if step["ended_at"] else now)


def seconds_left(step: StepShape, now: datetime) -> float | None:
    """Return the estimated seconds until all tasks have ended, None if it is too early to tell."""
    # A failed item of a map that goes on is done as well.
    done, total = step["tasks"]["completed"] + step["tasks"]["failed"], step["tasks"]["total"]
    spent = seconds(step, now) or 0
    if done < _TASKS_FOR_ESTIMATE or done >= total or spent < _SECONDS_FOR_ESTIMATE:
        return None
    return spent / done * (total - done)


def is_wide(step: StepShape) -> bool:
    """Return true for a step that has many tasks: a map, or `initial_tasks`."""
    return step["map"] or step["tasks"]["total"] > 1


def item(step: StepShape, error: FailedAttempt) -> str:
    """Return the index of the item that failed in a wide step: `[17]`, else nothing."""
    return f"[{error['index']}]" if is_wide(step) else ""


def left_child(step: StepShape) -> ChildShape | None:
    """Return a child run that an ended step has left behind, and for which its run waits."""
    child = step["child"]
    ended = step["status"] in ENDED
    return child if ended and child is not None and child["status"] == "started" else None


def action(step: StepShape) -> str:
    """Return the handler of a step, the flow that it runs, or `wait`."""
    match step["action"]:
        case "flow":
            return f"flow {one_line(step['flow'] or '')}"
        case "wait":
            return "wait"
        case _:
            return one_line(step["handler"] or "")


def skip_reason(step: StepShape, every: Mapping[str, StepShape]) -> str:
    """Format the reason why a step was skipped; `every` has the steps of its run."""
    code = step["skip_reason"] or ""
    if code == "dependency_skipped" and (sentence := _blocked(step, every)):
        return sentence
    return _SKIP_REASONS.get(code, code.replace("_", " "))


def _blocked(step: StepShape, every: Mapping[str, StepShape]) -> str:
    """Return the dependencies that left nothing to do for a step, or nothing if none is known."""
    before = [every[slug] for slug in step["depends_on"] if slug in every]
    edges = {other["slug"]: step["edges"].get(other["slug"], "success") for other in before}
    for end, verb in (("failed", "failed"), ("cancelled", "was cancelled")):
        names = [
            one_line(other["slug"])
            for other in before
            if other["status"] == end and (end, edges[other["slug"]]) != ("failed", "failure")
        ]
        if names:
            return f"{', '.join(names)} {verb}"
    caught = [
        other
        for other in before
        if other["status"] in {"completed", "skipped"} and edges[other["slug"]] == "failure"
    ]
    allowed = [other for other in caught if other["skip_reason"] == "handler_failed"]
    if fine := [one_line(other["slug"]) for other in caught if other not in allowed]:
        return f"not needed: {', '.join(fine)} did not fail"
    if allowed:
        failed = ", ".join(one_line(each["slug"]) for each in allowed)
        return f"not needed: the failure of {failed} is allowed"
    skipped = [one_line(other["slug"]) for other in before if other["status"] == "skipped"]
    if skipped:
        return f"{', '.join(skipped)} {'was' if len(skipped) == 1 else 'were'} skipped"
    return ""


def by_slug(every: Iterable[StepShape]) -> dict[str, StepShape]:
    """Return the steps of a run by name."""
    return {step["slug"]: step for step in every}


def waiting_for(step: StepShape) -> str:
    """Format the dependencies that a step waits for: `waits for charge to fail, reserve`."""
    named = [
        one_line(slug) + asked(step["edges"].get(slug, "success")) for slug in step["waiting_for"]
    ]
    return f"waits for {', '.join(named)}" if named else ""


def asked(edge: str) -> str:
    """Return the end that an edge requires of its dependency, in words that follow its name."""
    return {"success": "", "failure": " to fail", "any": " to end"}[edge]


def attempt(step: StepShape, number: int) -> str:
    """Format one attempt of a step: `attempt 2 of 3`."""
    return f"attempt {number:,} of {step['max_attempts']:,}"


def attempts(step: StepShape) -> str:
    """Format the number of attempts of a step, or of failed tasks of a wide one."""
    if is_wide(step):
        return f"{step['tasks']['failed']:,} of {task_total(step)}"
    if not step["attempts"]:
        return ""
    return f"{step['attempts']:,} of {step['max_attempts']:,} attempts"


def call(step: StepShape) -> str:
    """Format the current or next call of a repeated step: `call 3 of 100`."""
    repeat = step["repeat"]
    if repeat is None:
        return ""
    most = f" of {repeat['max']:,}" if repeat["max"] else ""
    return f"call {step['iteration'] + 1:,}{most}"


def task_total(step: StepShape) -> str:
    """Format the number of tasks of a step: `10 items` of a map, else `10 tasks`."""
    return plural(step["tasks"]["total"], task_noun(step))


def task_noun(step: StepShape) -> str:
    """Return the word for a task of a step: `item` of a map, else `task`."""
    return "item" if step["map"] else "task"


def task_counts(step: StepShape) -> str:
    """Format the number of tasks of a step by status: `10 (8 completed, 2 failed)`."""
    tasks = step["tasks"]
    counts = {
        "completed": tasks["completed"],
        "running": tasks["started"],
        "queued": tasks["queued"],
        "failed": tasks["failed"],
        "cancelled": tasks["cancelled"],
    }
    parts = [f"{count:,} {name}" for name, count in counts.items() if count]
    return f"{tasks['total']:,} ({', '.join(parts)})" if parts else f"{tasks['total']:,}"


def failed_tasks(step: StepShape) -> str:
    """Format the number of failed tasks and the tolerated one: `3 failed (tolerate 5 %)`."""
    failed, tolerate = step["tasks"]["failed"], step["tolerate"]
    if not failed:
        return ""
    if not tolerate:
        return f"{failed:,} failed"
    most = f"{tolerate:,}" if isinstance(tolerate, int) else f"{tolerate['percent']:g} %"
    return f"{failed:,} failed (tolerate {most})"


def share_completed(step: StepShape) -> float:
    """Return the share of the tasks of a step that are completed."""
    total = step["tasks"]["total"]
    return step["tasks"]["completed"] / total if total else 0.0


def progress(step: StepShape) -> str:
    """Format the last report of progress of a step that runs: `40 %, page 12 of 30`."""
    report = step["progress"]
    if report is None:
        return ""
    words = progress_words(report)
    return f"[{report['index']}] {words}" if is_wide(step) else words


def progress_words(report: ProgressShape) -> str:
    """Format a report of progress: `40 %, page 12 of 30`; it is 100 % when all is done only."""
    text = one_line(report["text"])
    return f"{int(report['done'] * 100 + 1e-9)} %" + (f", {text}" if text else "")


def log_texts(step: StepShape) -> list[str]:
    """Return the last lines of a step that fails, each cleaned for a terminal."""
    return [clean(line[3]).replace("\n", " ") for line in step.get("log", ())]


def last_error(step: StepShape, failure: FailedAttempt | None) -> str:
    """Format the last failed attempt of a step, or the error of the step, on one line."""
    if failure is not None:
        return f"{item(step, failure)} {error_text(failure)}".lstrip()
    return error_text(step["error"]) if step["status"] == "failed" else ""
