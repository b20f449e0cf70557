"""What the live view says beside the name of a step: its time, its attempts, what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.cli.text import cells, duration, error_text, moment, one_line, plural, roughly

from .symbols import STYLES, Frame

if TYPE_CHECKING:
    from datetime import datetime

    from .snapshot import FailedAttempt, StepShape

Segment = tuple[str, str]


def step_kind(step: StepShape, now: datetime) -> str:
    """Name the symbol of a step: its status, or `retrying` while it waits for another try."""
    retry_at = step["retry_at"]
    if step["status"] == "started" and not step["tasks"]["started"] and retry_at:
        return "retrying" if moment(retry_at) > now else "started"
    return step["status"]


def took(step: StepShape, now: datetime) -> str:
    """Say how long a step has taken so far or in all."""
    if not step["started_at"]:
        return ""
    end = moment(step["ended_at"]) if step["ended_at"] else now
    return duration((end - moment(step["started_at"])).total_seconds())


def detail(step: StepShape, last: FailedAttempt | None, frame: Frame, room: int) -> Segment:
    """Say what is worth knowing about a step in at most `room` columns, and in which style."""
    status, dot = step["status"], f" {frame.look.dot} "
    if status == "started":
        words = _wide(step, frame, room) if is_wide(step) else _single(step, last, frame)
        return (
            words,
            STYLES[step_kind(step, frame.now)] if last and not is_wide(step) else "",
        )
    if status == "failed":
        return (dot.join(filter(None, ["failed", _tries(step)])), STYLES["failed"])
    return (_ended_or_waiting(step), "dim")


def _ended_or_waiting(step: StepShape) -> str:
    match step["status"]:
        case "created":
            return f"waits for {', '.join(step['waiting_for'])}" if step["waiting_for"] else ""
        case "skipped":
            return f"skipped: {skip_words(step['skip_reason'])}"
        case "cancelled":
            return "cancelled"
        case _ if is_wide(step):
            return plural(step["tasks"]["total"], "item" if step["map"] else "task")
        case _:
            return f"attempt {step['attempts']}" if step["attempts"] > 1 else ""


def skip_words(reason: str | None) -> str:
    """Say why a step was skipped."""
    reasons = {
        "condition_unmet": "condition not met",
        "dependency_skipped": "a step before it did not complete",
        "handler_failed": "it failed, which is allowed",
    }

    return reasons.get(reason or "", (reason or "").replace("_", " "))


def _tries(step: StepShape) -> str:
    if is_wide(step):
        failed, total = step["tasks"]["failed"], step["tasks"]["total"]
        return f"{failed:,} of {plural(total, 'item' if step['map'] else 'task')}"
    return f"{step['attempts']} of {step['max_attempts']} attempts" if step["attempts"] else ""


def _single(step: StepShape, last: FailedAttempt | None, frame: Frame) -> str:
    dot = f" {frame.look.dot} "
    if step["tasks"]["started"] == 0:
        if last:
            retry_at = step["retry_at"]
            wait = (moment(retry_at) - frame.now).total_seconds() if retry_at else 0
            again = f"again in {roughly(wait)}" if wait > 0 else "queued again"
            tried = f"attempt {last['attempt']} of {step['max_attempts']} failed"
            return f"{tried}: {one_line(last['type'])}{dot}{again}"
        if step["retry_at"] and moment(step["retry_at"]) > frame.now:
            wait = (moment(step["retry_at"]) - frame.now).total_seconds()
            return f"starts in {roughly(wait)}"
        return "queued"
    if step["attempts"] <= 1:
        return ""
    words = f"attempt {step['attempts']} of {step['max_attempts']}"
    if last:
        ago = roughly((frame.now - moment(last["at"])).total_seconds())
        words += f"{dot}{one_line(last['type'])} {ago} ago"
    return words


def _wide(step: StepShape, frame: Frame, room: int) -> str:
    tasks, dot = step["tasks"], f" {frame.look.dot} "
    total = max(tasks["total"], 1)
    parts = [f"{tasks['completed']:,}/{tasks['total']:,}"]
    parts += [f"{tasks['failed']:,} failed"] if tasks["failed"] else []
    parts += [f"{tasks['started']:,} at once"] if tasks["started"] else []
    parts += _eta(step, frame.now)
    bar = 15 if room >= 50 else 8 if room >= 24 else 0
    drawn = ""
    if bar:
        full = bar * tasks["completed"] // total
        drawn = frame.look.map_bar * full + frame.look.map_rest * (bar - full) + "  "
    while len(parts) > 1 and cells(drawn + dot.join(parts)) > room:
        parts.pop()
    return drawn + dot.join(parts)


def _eta(step: StepShape, now: datetime) -> list[str]:
    done, total = step["tasks"]["completed"], step["tasks"]["total"]
    if not step["started_at"] or done < 3 or done >= total:
        return []
    spent = (now - moment(step["started_at"])).total_seconds()
    if spent < 1:
        return []
    return [f"ETA {roughly(spent / done * (total - done))}"]


def error_words(step: StepShape, last: FailedAttempt | None) -> str:
    """Say the last error of a step on one line, or nothing."""
    if last is not None:
        where = f"[{last['index']}] " if is_wide(step) else ""
        return where + error_text(last)
    return error_text(step["error"]) if step["status"] == "failed" else ""


def is_wide(step: StepShape) -> bool:
    """Tell whether a step has many tasks: a map, or `initial_tasks`."""
    return step["map"] or step["tasks"]["total"] > 1
