"""The pages of `show`: a whole run, and one of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.runs.failures import fates
from pgflow_yaml.runs.steps import is_wide, skip_words, tasks_words
from pgflow_yaml.runs.waits import (
    action_words,
    answered,
    call_words,
    child_words,
    wait_words,
    waiting_for,
)
from pgflow_yaml.text import (
    clean,
    duration,
    error_text,
    labels_text,
    layout,
    moment,
    one_line,
    plural,
    utc,
)

from .live.step_details import Segment
from .live.symbols import STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.failures import Fate
    from pgflow_yaml.runs.snapshot import FailedAttempt, Snapshot, StepShape


Line = list[Segment]
LABEL = 14
MOST_ERRORS = MOST_CHILDREN = 10


def head(snapshot: Snapshot) -> list[Line]:
    """Say in plain words which run this is, and how it is."""
    run = snapshot["run"]
    fields = {"run": run["id"], "flow": run["flow"], "version": run["version"]}
    lines = [_field(label, text) for label, text in fields.items()]
    return [*lines, [(f"   {'status':<{LABEL}}", "dim"), (run["status"], STYLES[run["status"]])]]


def step_rows(snapshot: Snapshot) -> list[list[str]]:
    """Say what is known of each step without the clock: the same run gives the same rows."""
    found = fates(snapshot)
    return [
        [
            step["slug"],
            step["status"],
            "" if step["action"] == "wait" else f"{step['attempts']}/{step['max_attempts']}",
            utc(step["started_at"]) if step["started_at"] else "",
            utc(step["ended_at"]) if step["ended_at"] else "",
            _remark(step, moment(snapshot["now"]), found.get(step["slug"])),
        ]
        for step in snapshot["steps"]
    ]


def _remark(step: StepShape, now: datetime, fate: Fate | None) -> str:
    if step["status"] == "waiting" and step["waits"] and not is_wide(step):
        if step["child"]:
            return f"runs {child_words(step['child'], of_many=False)}"
        # Without the clock, but with the end: the same run gives the same rows.
        until = step["waits"]["until"]
        waits = wait_words({**step["waits"], "until": None}, now)
        return f"{waits} until {utc(until)}" if until else waits
    if step["status"] == "created":
        if step["finally"] and not step["waiting_for"]:
            return "finally"
        return waiting_for(step)
    if step["status"] == "skipped":
        return skip_words(step["skip_reason"])
    tasks = f"tasks {tasks_words(step)}" if is_wide(step) else ""
    calls = call_words(step) if step["iteration"] and step["status"] == "started" else ""
    error = error_text(step["error"]) if step["status"] == "failed" else ""
    said = answered(step) if step["status"] == "completed" else ""
    caught = f"handled by {', '.join(fate.by)}" if fate and fate.kind == "handled" else ""
    return "; ".join(filter(None, [tasks, calls, said, error, caught]))


def about_run(snapshot: Snapshot, *, most: int | None = None) -> list[Line]:
    """Say what went into a run and what came out, each in at most so many lines."""
    run = snapshot["run"]
    lines = [_field("key", run["key"])] if run["key"] else []
    if parent := run["parent"]:
        lines.append(_field("child of", f"{parent['id']}, step {parent['step']}"))
    if run["labels"]:
        lines.append(_field("labels", labels_text(run["labels"])))
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
        _field("does" if step["handler"] is None else "handler", action_words(step)),
    ]
    if step["depends_on"]:
        edges = [
            one_line(slug) + (f" ({edge})" if (edge := step["edges"][slug]) != "success" else "")
            for slug in step["depends_on"]
        ]
        lines.append(_field("depends on", ", ".join(edges)))
    if waits := step["waits"]:
        until = f" until {utc(waits['until'])}" if waits["until"] else ""
        event = f'event "{waits["event"]}"' if waits["event"] else waits["kind"]
        lines.append(_field("waits for", f"{event}{until}"))
    if step["status"] == "skipped":
        lines.append(_field("skipped", skip_words(step["skip_reason"])))
    if step["started_at"]:
        lines.append(_field("started", utc(step["started_at"]) + _took(step)))
        if step["action"] != "wait":
            lines.append(_field("attempts", f"{step['attempts']:,} of {step['max_attempts']:,}"))
    if step["iteration"]:
        lines.append(_field("calls", f"{step['iteration'] + 1:,}"))
    if step["crashes"]:
        lines.append(_field("crashes", f"{step['crashes']:,}"))
    if is_wide(step):
        lines.append(_field("tasks", tasks_words(step)))
    if said := step["answer"]:
        lines.append(_field("answer", f"{answered(step)}, {utc(said['at'])}"))
    lines += _children(step)
    if items and "items" in step:
        lines += _items(step["items"])
    lines += _errors(step, errors)
    if step["status"] == "completed":
        lines += _value("output", step["output"], most)
    return lines


def _children(step: StepShape) -> list[Line]:
    """Name the runs that are the work of a step, the first of many."""
    ids = step["children"]
    lines = [
        _field("child run" if not n else "", each) for n, each in enumerate(ids[:MOST_CHILDREN])
    ]
    if len(ids) > MOST_CHILDREN:
        lines.append(_field("", f"and {len(ids) - MOST_CHILDREN:,} more (--json has all)"))
    return lines


def _took(step: StepShape) -> str:
    if not step["started_at"] or not step["ended_at"]:
        return ""
    took = (moment(step["ended_at"]) - moment(step["started_at"])).total_seconds()
    return f", took {duration(took)}"


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
