"""The selected step on the page of a run: what it was given, did and left, and why it waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.durations import as_text
from pgflow_yaml.runs import steps
from pgflow_yaml.runs.attempts import attempts_of
from pgflow_yaml.runs.audited import audit_words
from pgflow_yaml.runs.facts import step_facts
from pgflow_yaml.runs.failures import failure_handling, raised_at
from pgflow_yaml.runs.listed import run_status, run_took, run_trouble
from pgflow_yaml.runs.logs import LogFilter
from pgflow_yaml.runs.remarks import remark
from pgflow_yaml.runs.shown import reason_sentences
from pgflow_yaml.runs.snapshot import ENDED
from pgflow_yaml.text import duration, moment
from pgflow_yaml.web.pages.of_run import definition, reasons, snapshot, watched
from pgflow_yaml.web.pages.run_pictures import address, selected
from pgflow_yaml.web.rendering import time_words
from pgflow_yaml.web.table import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgflow_yaml.runs.attempts import Attempt
    from pgflow_yaml.runs.logs import LogLine
    from pgflow_yaml.runs.snapshot import FailedAttempt, Snapshot, StepShape
    from pgflow_yaml.web.asked import Asked

MOST_LINES, MOST_ATTEMPTS, MOST_CHILDREN = 20, 50, 100
_MOST_WATCHED = 15


def read_step(asked: Asked) -> Mapping[str, Any]:
    """Return all about the selected step; nothing if none is."""
    slug, shown = asked.once(selected), asked.once(snapshot)
    if slug is None:
        return {"step": None}
    every = steps.by_slug(shown["steps"])
    step, now = every[slug], moment(shown["now"])
    handling = failure_handling(shown).get(slug)
    why = reason_sentences(shown, asked.once(reasons)).get(slug)
    attempt = _attempt(asked)
    errors = [error for error in shown["errors"] if error["step"] == slug]
    chosen = [error for error in errors if attempt in (None, error["attempt"])]
    return {
        "step": step,
        "run": shown["run"],
        "live": step["status"] not in ENDED,
        "condition": steps.condition(step, now, handling),
        "seconds": steps.seconds(step, now),
        "goes_on": step["started_at"] if not step["ended_at"] else None,
        "why": why or ("" if chosen else remark(step, every, handling)),
        "facts": [*step_facts(step, every, time_words), *_limits(asked, slug)],
        "wide": steps.is_wide(step),
        "noun": steps.task_noun(step),
        "attempt": attempt,
        "attempts": _attempts(asked, shown, step, errors),
        "error": chosen[-1] if chosen else None,
        "place": raised_at(chosen[-1]["trace"] or "") if chosen else None,
        "own_error": step["error"] if not chosen and step["status"] == "failed" else None,
        **_arguments(asked, shown, step),
        "lines": _lines(asked, shown, slug, attempt),
        "all_attempts": address(asked, attempt=None) if attempt else "",
    }


def _attempt(asked: Asked) -> int | None:
    """Return the attempt in the address, if that is one."""
    text = asked.query.get("attempt", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


def _limits(asked: Asked, slug: str) -> Iterator[tuple[str, str]]:
    """Yield the limits that the flow sets, which a snapshot does not have."""
    stored = asked.once(definition)
    if stored is None:
        return
    body: dict[str, Any] = stored.definition
    step = {**body.get("steps", {}), **body.get("finally", {})}.get(slug, {})
    if isinstance(step.get("timeout"), int):
        yield "timeout", as_text(step["timeout"])


def _attempts(
    asked: Asked, shown: Snapshot, step: StepShape, errors: list[FailedAttempt]
) -> list[Mapping[str, Any]]:
    """Return the attempts of the only task of a step, the newest first."""
    if steps.is_wide(step) or step["action"] != "handler":
        return []
    found = attempts_of(step, errors, moment(shown["now"]))
    rows: list[Mapping[str, Any]] = [
        {
            "number": _number(step, each),
            "past": bool(each.error and each.error.get("past")),
            "outcome": each.outcome,
            "begin": each.begin.isoformat(),
            "took": duration((each.end - each.begin).total_seconds()),
            "error": each.error,
            "link": address(asked, step=step["slug"], attempt=str(_number(step, each))),
        }
        for each in found
    ]
    return rows[::-1][:MOST_ATTEMPTS]


def _number(step: StepShape, attempt: Attempt) -> int:
    return attempt.error["attempt"] if attempt.error else step["attempts"]


def _arguments(asked: Asked, shown: Snapshot, step: StepShape) -> Mapping[str, Any]:
    """Return what the step was called with, or the words for none."""
    task: Mapping[str, Any] = {}
    none = "none, it was never called" if step["status"] in ENDED else "none yet, it waits"
    if steps.is_wide(step):
        none = f"each {steps.task_noun(step)} has its own"
    elif step["action"] == "wait":
        none = "none, it calls nothing"
    else:
        task = asked.client.task_snapshot(shown["run"]["id"], step["slug"]) or {}
    if "arguments_error" in task:
        none = f"they have no value: {task['arguments_error']}"
    return {
        "has_arguments": "arguments" in task,
        "arguments": task.get("arguments"),
        "no_arguments": none,
    }


def _lines(asked: Asked, shown: Snapshot, slug: str, attempt: int | None) -> list[LogLine]:
    chosen = LogFilter(steps=(slug,), attempt=attempt)
    return asked.client.run_logs(shown["run"]["id"], chosen, limit=MOST_LINES)


def _children(asked: Asked) -> list[Mapping[str, Any]]:
    run = asked.once(snapshot)
    if not any(step["children"] or step["child"] for step in run["steps"]):
        return []
    found = asked.client.list_runs(limit=MOST_CHILDREN, parent=run["run"]["id"])
    return [child.as_json() for child in found]


def read_children(asked: Asked) -> Mapping[str, Any]:
    """Return the runs that steps of this run started, the newest first."""
    found = asked.once(_children)
    rows = [
        {
            "run": run,
            "status": run_status(run),
            "took": run_took(run),
            "trouble": run_trouble(run),
        }
        for run in found
    ]
    return {"rows": rows, "run": asked.once(snapshot)["run"], "most": MOST_CHILDREN}


def _watched_children(asked: Asked) -> str:
    """Return the names of the run and of its first live children: each has a mark of its own."""
    live = [f"run:{run['id']}" for run in asked.once(_children) if run["status"] == "started"]
    return ",".join([watched(asked), *live[:_MOST_WATCHED]])


def read_audit(asked: Asked) -> Mapping[str, Any]:
    """Return what people did with the run."""
    lines = asked.client.audit(asked.once(snapshot)["run"]["id"])
    return {
        "lines": [
            (audit_words(line.action, line.who, line.details), line.at.isoformat())
            for line in lines
        ]
    }


AUDIT = Part(read=read_audit, watch=watched)
STEP = Part(read=read_step, watch=watched)
CHILDREN = Part(read=read_children, watch=_watched_children)
