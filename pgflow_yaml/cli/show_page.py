"""The pages of `show`: a whole run, one of its steps, and what each unfinished step waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .live.snapshot import ENDED, SAID
from .live.step_details import Segment, is_wide, skip_words
from .live.symbols import STYLES
from .text import clean, duration, error_text, layout, moment, one_line, plural, roughly, utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.model import Json

    from .live.snapshot import FailedAttempt, Snapshot, StepShape

Line = list[Segment]
LABEL = 14
MOST_ERRORS = 10


def head(snapshot: Snapshot) -> list[Line]:
    """Say in plain words which run this is, and how it is."""
    run = snapshot["run"]
    fields = {"run": run["id"], "flow": run["flow"], "version": run["version"]}
    lines = [_field(label, text) for label, text in fields.items()]
    return [*lines, [(f"   {'status':<{LABEL}}", "dim"), (run["status"], STYLES[run["status"]])]]


def step_rows(snapshot: Snapshot) -> list[list[str]]:
    """Say what is known of each step without the clock: the same run gives the same rows."""
    return [
        [
            step["slug"],
            step["status"],
            f"{step['attempts']}/{step['max_attempts']}",
            utc(step["started_at"]) if step["started_at"] else "",
            utc(step["ended_at"]) if step["ended_at"] else "",
            _remark(step),
        ]
        for step in snapshot["steps"]
    ]


def _remark(step: StepShape) -> str:
    if step["status"] == "created":
        return f"waits for {', '.join(step['waiting_for'])}" if step["waiting_for"] else ""
    if step["status"] == "skipped":
        return skip_words(step["skip_reason"])
    tasks = f"tasks {tasks_words(step)}" if is_wide(step) else ""
    error = error_text(step["error"]) if step["status"] == "failed" else ""
    return "  ".join(filter(None, [tasks, error]))


def about_run(snapshot: Snapshot, *, most: int | None = None) -> list[Line]:
    """Say what went into a run and what came out, each in at most so many lines."""
    run = snapshot["run"]
    lines = [_field("key", run["key"])] if run["key"] else []
    lines.append(_field("started", utc(run["started_at"] or run["created_at"])))
    if run["ended_at"]:
        lines.append(_field("ended", utc(run["ended_at"])))
    lines += _value("input", run["input"], most)
    if run["status"] == "completed":
        lines += _value("output", run["output"], most)
    return lines


def about_step(
    step: StepShape,
    errors: Sequence[FailedAttempt],
    *,
    items: bool,
    most: int | None = None,
) -> list[Line]:
    """Say everything that is known of one step, its output in at most so many lines."""
    lines: list[Line] = [
        [(f" {one_line(step['slug'])}  ", "bold"), (step["status"], STYLES[step["status"]])],
        _field("handler", one_line(step["handler"])),
    ]
    if step["depends_on"]:
        lines.append(_field("depends on", ", ".join(map(one_line, step["depends_on"]))))
    if step["status"] == "skipped":
        lines.append(_field("skipped", skip_words(step["skip_reason"])))
    if step["started_at"]:
        lines.append(_field("started", utc(step["started_at"]) + _took(step)))
        lines.append(_field("attempts", f"{step['attempts']:,} of {step['max_attempts']:,}"))
    if step["crashes"]:
        lines.append(_field("crashes", f"{step['crashes']:,}"))
    if is_wide(step):
        lines.append(_field("tasks", tasks_words(step)))
    if items and "items" in step:
        lines += _items(step["items"])
    lines += _errors(step, errors)
    if step["status"] == "completed":
        lines += _value("output", step["output"], most)
    return lines


def _took(step: StepShape) -> str:
    if not step["started_at"] or not step["ended_at"]:
        return ""
    took = (moment(step["ended_at"]) - moment(step["started_at"])).total_seconds()
    return f", took {duration(took)}"


def why(snapshot: Snapshot) -> list[Line]:
    """Say what each unfinished step waits for."""
    steps = {step["slug"]: step for step in snapshot["steps"]}
    unfinished = [step for step in snapshot["steps"] if step["status"] not in ENDED]
    if not unfinished or snapshot["run"]["status"] != "started":
        return [[(f" nothing waits: the run {SAID[snapshot['run']['status']]}", "")]]
    width = max(len(step["slug"]) for step in unfinished)
    return [
        [
            (f" {one_line(step['slug']):<{width}}  ", ""),
            (_reason(step, steps, snapshot["now"]), STYLES[step["status"]]),
        ]
        for step in unfinished
    ]


def _reason(step: StepShape, steps: dict[str, StepShape], now: str) -> str:
    if step["status"] == "created":
        named = [
            f"{slug} ({steps[slug]['status']})" for slug in step["waiting_for"] if slug in steps
        ]
        return f"waits for {', '.join(named)}" if named else "starts with the next turn of a worker"
    since = roughly((moment(now) - moment(step["started_at"] or now)).total_seconds())
    if step["tasks"]["started"]:
        words = tasks_words(step) if is_wide(step) else f"attempt {step['attempts']}"
        return f"runs since {since}: {words}"
    retry_at = step["retry_at"]
    if retry_at and moment(retry_at) > moment(now):
        wait = roughly((moment(retry_at) - moment(now)).total_seconds())
        cause = "the next attempt" if step["attempts"] else "its start delay"
        return f"waits {wait} for {cause}"
    return f"queued since {since}: no worker has taken it (handler {one_line(step['handler'])})"


def tasks_words(step: StepShape) -> str:
    """Say how many tasks of a step stand where."""
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


def _items(items: Sequence[str | None]) -> list[Line]:
    """List the items by status, as ranges of their indexes."""
    by_status: dict[str, list[int]] = {}
    for index, status in enumerate(items):
        by_status.setdefault(status or "to come", []).append(index)
    return [_field(f"  {status}", _ranges(found)) for status, found in by_status.items()]


def _ranges(indexes: Sequence[int]) -> str:
    ranges: list[list[int]] = []
    for index in indexes:
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in ranges)


def _errors(step: StepShape, errors: Sequence[FailedAttempt]) -> list[Line]:
    lines: list[Line] = []
    for error in errors[-MOST_ERRORS:]:
        where = f"[{error['index']}] " if is_wide(step) else ""
        head = f"{where}attempt {error['attempt']}, {utc(error['at'])}"
        text = error_text(error)
        lines.append([(f"   {'error':<{LABEL}}", "dim"), (f"{head}  ", ""), (text, "red")])
    if not errors and step["error"]:
        lines.append([(f"   {'error':<{LABEL}}", "dim"), (error_text(step["error"]), "red")])
    if errors and errors[-1]["trace"]:
        lines += [[(f"     {text}", "dim")] for text in _trace(errors[-1]["trace"])]
    if len(errors) > MOST_ERRORS:
        lines.append(_field("", f"and {plural(len(errors) - MOST_ERRORS, 'earlier error')}"))
    return lines


def _trace(trace: str) -> list[str]:
    return clean(trace).rstrip("\n").split("\n")


def _field(label: str, text: str | None) -> Line:
    return [(f"   {label:<{LABEL}}", "dim"), (one_line(text or ""), "")]


def _value(label: str, value: Json, most: int | None) -> list[Line]:
    first, *rest = clean(layout(value)).split("\n")
    if most is not None and len(rest) > most:
        rest = [*rest[:most], f"… and {plural(len(rest) - most, 'more line')} (--json has all)"]
    lines = [[(f"   {label:<{LABEL}}", "dim"), (first, "")]]
    return lines + [[(" " * (LABEL + 3) + line, "")] for line in rest]
