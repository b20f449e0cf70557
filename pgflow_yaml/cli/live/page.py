"""The pages of `show`: a whole run, one of its steps, and the reasons why steps wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.runs import steps
from pgflow_yaml.runs.facts import began, step_facts
from pgflow_yaml.runs.failures import failure_handling
from pgflow_yaml.runs.remarks import remark
from pgflow_yaml.runs.retrying import retry_command
from pgflow_yaml.runs.run import began_at, is_left_alone
from pgflow_yaml.runs.snapshot import ENDED, STATUS_PHRASES
from pgflow_yaml.runs.why import RUN, own_reason
from pgflow_yaml.text import (
    clean,
    duration,
    error_text,
    labels_text,
    layout,
    one_line,
    plural,
    utc,
)

from .symbols import STYLES, Line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.snapshot import FailedAttempt, Snapshot, StepShape, TaskShape

LABEL = 14
MOST_ERRORS = MOST_CHILDREN = 10


def head(snapshot: Snapshot, resume: str) -> list[Line]:
    """Return the lines about the identity and the status of a run.

    `resume` is the command to show for a run that no worker works on.
    """
    run = snapshot["run"]
    return [
        _field("run", run["id"]),
        _field("flow", run["flow"]),
        _field("version", run["version"] or ""),
        _field("status", run["status"], STYLES[run["status"]]),
        *([_field("waits", own_reason(snapshot))] if run.get("why") else []),
        *([_field("workers", f"none is alive: {resume}")] if is_left_alone(snapshot) else []),
    ]


def step_rows(snapshot: Snapshot) -> list[list[str]]:
    """Return a row for each step, without the current time: the same run gives the same rows."""
    handling, every = failure_handling(snapshot), steps.by_slug(snapshot["steps"])
    return [
        [
            step["slug"],
            step["status"],
            "" if step["action"] == "wait" else f"{step['attempts']}/{step['max_attempts']}",
            utc(step["started_at"]) if step["started_at"] else "",
            utc(step["ended_at"]) if step["ended_at"] else "",
            remark(step, every, handling.get(step["slug"])),
        ]
        for step in snapshot["steps"]
    ]


def about_run(snapshot: Snapshot, *, most: int | None = None) -> list[Line]:
    """Return the lines about a run; its input and output take at most `most` lines each."""
    run = snapshot["run"]
    lines = [_field("key", run["key"])] if run["key"] else []
    if parent := run["parent"]:
        lines.append(_field("child of", f"{parent['id']}, step {parent['step']}"))
    if run["labels"]:
        lines.append(_field("labels", labels_text(run["labels"])))
    lines.append(_field("started", utc(began_at(run))))
    if run["ended_at"]:
        lines.append(_field("ended", utc(run["ended_at"])))
    if run["pruned_at"]:
        lines.append(_field("being pruned", f"since {utc(run['pruned_at'])}: steps may be missing"))
    if run.get("retries"):
        lines.append(_field("retried", plural(run.get("retries", 0), "time")))
    if command := retry_command(run):
        lines.append(_field("go on", command))
    if (usual := snapshot.get("usual_seconds")) is not None:
        lines.append(_field("usually takes", duration(usual)))
    lines += _value("input", run["input"], most)
    if run["status"] == "completed":
        lines += _value("output", run["output"], most)
    return lines


def about_step(
    step: StepShape,
    errors: Sequence[FailedAttempt],
    every: Mapping[str, StepShape],
    *,
    items: bool,
    called: bool = False,
    most: int | None = None,
) -> list[Line]:
    """Return the lines about one step; `every` holds all steps of its run.

    `called` adds the arguments of the call. Each value takes at most `most` lines.
    """
    lines: list[Line] = [
        _title(step["slug"], step["status"]),
        *(_field(label, text) for label, text in step_facts(step, every)),
        *_children(step["children"]),
    ]
    if items and "items" in step:
        lines += _items(step["items"])
    if called and step["action"] != "wait":
        if steps.is_wide(step):
            lines.append(_field("arguments", "--item N shows those of one"))
        else:
            lines += _arguments(step, most)
    lines += _errors(step, errors)
    lines += [
        [_label("" if number else "log"), (text, "dim")]
        for number, text in enumerate(steps.log_texts(step))
    ]
    if step["status"] == "completed":
        lines += _value("output", step["output"], most)
    return lines


def about_item(step: StepShape, index: int, *, most: int | None = None) -> list[Line]:
    """Return the lines about the `item` of a step; each value takes at most `most` lines."""
    task, slug = step["item"], f"{step['slug']}[{index}]"
    if task is None:
        return [_title(slug, step["status"] if step["status"] in ENDED else "created")]
    lines = [
        _title(slug, task["status"]),
        _field("does" if step["handler"] is None else "handler", steps.action(step)),
        *(_field(*fact) for fact in began(task, step["max_attempts"])),
        *([_field("crashes", f"{task['crashes']:,}")] if task["crashes"] else []),
        *(
            [_field("progress", steps.progress_words(task["progress"]))]
            if task["progress"] and task["status"] != "completed"
            else []
        ),
        *_children(task["children"]),
        *_arguments(task, most),
        *_errors({**step, "error": None}, task["errors"]),
    ]
    return lines + (_value("output", task["output"], most) if task["status"] == "completed" else [])


def _title(slug: str, status: str) -> Line:
    return [(f" {one_line(slug)}  ", "bold"), (status, STYLES.get(status, "dim"))]


def _arguments(called: StepShape | TaskShape, most: int | None) -> list[Line]:
    if "arguments" in called:
        return _value("arguments", called["arguments"], most)
    if "arguments_error" in called:
        return [_field("arguments", f"they have no value: {called['arguments_error']}")]
    never = called["status"] in ENDED
    return [_field("arguments", "none, it was never called" if never else "none yet, it waits")]


def _children(run_ids: Sequence[str]) -> list[Line]:
    """Return the lines with the ids of child runs, at most MOST_CHILDREN."""
    shown = run_ids[:MOST_CHILDREN]
    lines = [_field("" if n else "child run", run_id) for n, run_id in enumerate(shown)]
    if len(run_ids) > MOST_CHILDREN:
        lines.append(_field("", f"and {len(run_ids) - MOST_CHILDREN:,} more (--json has all)"))
    return lines


def _items(items: Sequence[str | None]) -> list[Line]:
    """Return a line for each status with the items that have it, as ranges of indexes."""
    by_status: dict[str, list[int]] = {}
    for index, status in enumerate(items):
        by_status.setdefault(status or "to come", []).append(index)
    return [_field(f"  {status}", _ranges(indexes)) for status, indexes in by_status.items()]


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
        past = ", before the retry" if error.get("past") else ""
        attempt = f"attempt {error['attempt']}, {utc(error['at'])}{past}"
        when = f"{steps.item(step, error)} {attempt}".lstrip()
        lines.append([_label("error"), (f"{when}  ", ""), (error_text(error), "red")])
    if not errors and step["error"]:
        lines.append(_field("error", error_text(step["error"]), "red"))
    if errors and errors[-1]["trace"]:
        trace = clean(errors[-1]["trace"]).rstrip("\n").split("\n")
        lines += [[(f"     {text}", "dim")] for text in trace]
    if len(errors) > MOST_ERRORS:
        lines.append(_field("", f"and {plural(len(errors) - MOST_ERRORS, 'earlier error')}"))
    return lines


def _label(text: str) -> tuple[str, str]:
    return (f"   {text:<{LABEL}}", "dim")


def _field(label: str, text: str, style: str = "") -> Line:
    return [_label(label), (one_line(text), style)]


def _value(label: str, value: Json, most: int | None) -> list[Line]:
    first, *rest = clean(layout(value)).split("\n")
    if most is not None and len(rest) > most:
        rest = [*rest[:most], f"… and {plural(len(rest) - most, 'more line')} (--json has all)"]
    return [[_label(label), (first, "")], *([(" " * (LABEL + 3) + line, "")] for line in rest)]


def why_lines(snapshot: Snapshot, reasons: Mapping[str, str]) -> list[Line]:
    """Return a line for each unfinished step with its reason, or for a run before it begins."""
    if not reasons:
        return [[(f" nothing waits: the run {STATUS_PHRASES[snapshot['run']['status']]}", "")]]
    statuses = {RUN: "waiting", **{step["slug"]: step["status"] for step in snapshot["steps"]}}
    width = max(map(len, reasons))
    return [
        [(f" {one_line(slug):<{width}}  ", ""), (text, STYLES[statuses[slug]])]
        for slug, text in reasons.items()
    ]
