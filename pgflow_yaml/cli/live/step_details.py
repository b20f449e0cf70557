"""What the live view says beside the name of a step: its time, its attempts, what it waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgflow_yaml.runs.failures import Fate, fates
from pgflow_yaml.runs.steps import is_wide, skip_words
from pgflow_yaml.runs.waits import answered, call_words, tolerated, wait_words, waiting_for
from pgflow_yaml.text import cells, duration, error_text, moment, one_line, plural, roughly

from .symbols import STYLES, Frame

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pgflow_yaml.runs.snapshot import FailedAttempt, Snapshot, StepShape

Segment = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a row of the picture may need to know beside its own step."""

    frame: Frame
    run_id: str
    errors: Mapping[str, FailedAttempt] = field(default_factory=dict)
    fates: Mapping[str, Fate] = field(default_factory=dict)

    def kind(self, step: StepShape) -> str:
        """Name the symbol of a step: its status, or what that means at this moment."""
        if step["status"] == "failed":
            fate = self.fates.get(step["slug"])
            return "caught" if fate and fate.kind != "unhandled" else "failed"
        if step["status"] == "waiting":
            # A child that works is no standstill; one that waits for somebody is.
            waits = step["waits"]
            works = waits and waits["kind"] == "child" and not step["awaited"]
            return "started" if works else "waiting"
        if step["status"] == "started":
            return _started_kind(step, self.frame.now)
        return step["status"]


def scene(snapshot: Snapshot, frame: Frame, errors: Mapping[str, FailedAttempt] | None) -> Scene:
    """Put together what the rows of a picture need."""
    return Scene(
        frame=frame, run_id=snapshot["run"]["id"], errors=errors or {}, fates=fates(snapshot)
    )


def _started_kind(step: StepShape, now: datetime) -> str:
    retry_at = step["retry_at"]
    if step["tasks"]["started"] or not retry_at or moment(retry_at) <= now:
        return "started"
    return "repeating" if step["iteration"] else "retrying"


def took(step: StepShape, now: datetime) -> str:
    """Say how long a step has taken so far or in all."""
    if not step["started_at"]:
        return ""
    end = moment(step["ended_at"]) if step["ended_at"] else now
    return duration((end - moment(step["started_at"])).total_seconds())


def detail(step: StepShape, around: Scene, room: int) -> Segment:
    """Say what is worth knowing about a step in at most `room` columns, and in which style."""
    frame, last = around.frame, around.errors.get(step["slug"])
    kind = around.kind(step)
    match step["status"]:
        case "started" | "waiting" if is_wide(step):
            return (_wide(step, frame, room), STYLES[kind] if kind == "waiting" else "")
        case "waiting":
            return (_waiting(step, frame), STYLES[kind] if kind == "waiting" else "")
        case "started":
            return (_single(step, last, frame), STYLES[kind] if last else "")
        case "failed":
            return (_failed(step, around), STYLES[kind])
        case _:
            return (_ended_or_waiting(step), "dim")


def _failed(step: StepShape, around: Scene) -> str:
    words = ["failed", _tries(step)]
    if fate := around.fates.get(step["slug"]):
        names = ", ".join(map(one_line, fate.by))
        if fate.kind == "handled":
            words.append(f"handled by {names}")
        elif fate.kind == "open":
            words.append(f"{names} may handle it")
    return f" {around.frame.look.dot} ".join(filter(None, words))


def _waiting(step: StepShape, frame: Frame) -> str:
    waits = step["waits"]
    if waits is None:
        return ""
    dot = f" {frame.look.dot} "
    if waits["kind"] == "child":
        return f"runs {one_line(step['flow'] or '')}" + (
            f"{dot}attempt {step['attempts']} of {step['max_attempts']}"
            if step["attempts"] > 1
            else ""
        )
    return wait_words(waits, frame.now, dot)


def _ended_or_waiting(step: StepShape) -> str:
    match step["status"]:
        case "created":
            return waiting_for(step)
        case "skipped":
            return f"skipped: {skip_words(step['skip_reason'])}"
        case "cancelled":
            return "cancelled"
        case _ if is_wide(step):
            failed = step["tasks"]["failed"]
            words = plural(step["tasks"]["total"], "item" if step["map"] else "task")
            return f"{words}, {failed:,} failed ({tolerated(step)})" if failed else words
        case _ if step["child"]:
            return f"{one_line(step['child']['flow'])} {step['child']['id'][:8]}"
        case _ if step["answer"]:
            return answered(step)
        case _:
            calls = f"{step['iteration'] + 1:,} calls" if step["iteration"] else ""
            tries = f"attempt {step['attempts']}" if step["attempts"] > 1 else ""
            return ", ".join(filter(None, [calls, tries]))


def _tries(step: StepShape) -> str:
    if is_wide(step):
        failed, total = step["tasks"]["failed"], step["tasks"]["total"]
        return f"{failed:,} of {plural(total, 'item' if step['map'] else 'task')}"
    most = step["max_attempts"]
    return f"{step['attempts']} of {most} attempts" if step["attempts"] and most > 1 else ""


def _single(step: StepShape, last: FailedAttempt | None, frame: Frame) -> str:
    dot = f" {frame.look.dot} "
    if step["tasks"]["started"] == 0:
        retry_at = step["retry_at"]
        wait = (moment(retry_at) - frame.now).total_seconds() if retry_at else 0
        again = f"again in {roughly(wait)}" if wait > 0 else "queued again"
        if step["iteration"] and not (last and last["retry_at"] == retry_at):
            # The call that was made last; `call_words` names the one to come.
            return f"call {step['iteration']:,}{dot}{again}"
        if last:
            tried = f"attempt {last['attempt']} of {step['max_attempts']} failed"
            return f"{tried}: {one_line(last['type'])}{dot}{again}"
        if step["refused_at"] and wait <= 0:
            ago = roughly((frame.now - moment(step["refused_at"])).total_seconds())
            return f"queued{dot}no worker has its handler, since {ago}"
        return f"starts in {roughly(wait)}" if wait > 0 else "queued"
    words = [call_words(step) if step["iteration"] else ""]
    if step["attempts"] > 1:
        words.append(f"attempt {step['attempts']} of {step['max_attempts']}")
        if last:
            ago = roughly((frame.now - moment(last["at"])).total_seconds())
            words.append(f"{one_line(last['type'])} {ago} ago")
    return dot.join(filter(None, words))


def _wide(step: StepShape, frame: Frame, room: int) -> str:
    tasks, dot = step["tasks"], f" {frame.look.dot} "
    total = max(tasks["total"], 1)
    parts = [f"{tasks['completed']:,}/{tasks['total']:,}"]
    bound = f" ({tolerated(step)})" if step["tolerate"] else ""
    parts += [f"{tasks['failed']:,} failed{bound}"] if tasks["failed"] else []
    parts += [f"{tasks['started']:,} at once"] if tasks["started"] else []
    parts += _eta(step, frame.now)
    bar = 15 if room >= 50 else 8 if room >= 24 else 0
    drawn = ""
    if bar:
        full = bar * tasks["completed"] // total
        drawn = frame.look.map_bar * full + frame.look.map_rest * (bar - full) + "  "
    runs = f" runs of {one_line(step['flow'] or '')}" if step["action"] == "flow" else ""
    if cells(drawn + dot.join(parts) + runs) <= room:
        parts[0] += runs
    while len(parts) > 1 and cells(drawn + dot.join(parts)) > room:
        parts.pop()
    return drawn + dot.join(parts)


def _eta(step: StepShape, now: datetime) -> list[str]:
    # Failed items of a map that goes on are done with, too.
    done, total = step["tasks"]["completed"] + step["tasks"]["failed"], step["tasks"]["total"]
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
