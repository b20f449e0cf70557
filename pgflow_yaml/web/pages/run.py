"""The page of a run: its head, its steps with why they wait, its errors, its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.runs import steps
from pgflow_yaml.runs.failures import (
    failed_steps,
    failure_handling,
    handled_failures,
    handled_sentence,
)
from pgflow_yaml.runs.remarks import remark
from pgflow_yaml.runs.retrying import kept_by_retry, retry_command
from pgflow_yaml.runs.run import (
    began_at,
    is_left_alone,
    is_stopping,
    run_error,
    run_name,
    run_seconds,
    run_status,
)
from pgflow_yaml.runs.shown import reason_sentences
from pgflow_yaml.runs.why import RUN
from pgflow_yaml.text import moment
from pgflow_yaml.web.pages.of_run import reasons, snapshot, watched
from pgflow_yaml.web.pages.run_asks import ASKS
from pgflow_yaml.web.pages.run_failures import MOST_FAILED, failures
from pgflow_yaml.web.pages.run_pictures import (
    lead_to_part,
    read_graph,
    read_marks,
    read_timeline,
)
from pgflow_yaml.web.pages.run_step import AUDIT, CHILDREN, STEP
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.snapshot import RunShape, StepShape
    from pgflow_yaml.web.asked import Asked

MOST_STEPS = 1_000
MOST_ERRORS = 100


def _read(asked: Asked) -> Mapping[str, Any]:
    lead_to_part(asked)
    return asked.once(_facts)


def _facts(asked: Asked) -> Mapping[str, Any]:
    shown = asked.once(snapshot)
    run = shown["run"]
    return {
        "run": run,
        "name": run_name(run),
        "kind": _kind(run),
        "words": run_status(run, stopping=is_stopping(shown)),
        "error": run_error(run["status"], run["error"]),
        "command": f"pgflow-yaml show {run['id'][:8]}",
    }


def _kind(run: RunShape) -> str:
    """Return the name of the mark of a run."""
    if run["status"] != "started":
        return run["status"]
    return "waiting" if run.get("why") else "stopping" if run["outcome"] else "started"


def _head(asked: Asked) -> Mapping[str, Any]:
    shown = asked.once(snapshot)
    run, live = shown["run"], shown["run"]["status"] == "started"
    why = reason_sentences(shown, asked.once(reasons))
    return {
        **asked.once(_facts),
        "live": live,
        "why": why.get(RUN, ""),
        "alone": is_left_alone(shown),
        "began": began_at(run),
        "seconds": run_seconds(run, moment(shown["now"])),
        "usual": shown.get("usual_seconds"),
        "retry": retry_command(run),
        "keeps": kept_by_retry(shown) if not run["parent"] and not live else "",
        "failures": failures(asked),
        "more_failures": max(0, len(failed_steps(shown)) - MOST_FAILED),
        "handled": [handled_sentence(*each) for each in handled_failures(shown).items()],
    }


def _steps(asked: Asked) -> Mapping[str, Any]:
    shown = asked.once(snapshot)
    why = reason_sentences(shown, asked.once(reasons))
    now, handling = moment(shown["now"]), failure_handling(shown)
    every = steps.by_slug(shown["steps"])

    def row(step: StepShape) -> Mapping[str, Any]:
        return {
            "step": step,
            "condition": steps.condition(step, now, handling.get(step["slug"])),
            "does": steps.action(step),
            "attempts": steps.attempts(step),
            "seconds": steps.seconds(step, now),
            "goes_on": step["started_at"] if not step["ended_at"] else None,
            "why": why.get(step["slug"]) or remark(step, every, handling.get(step["slug"])),
        }

    return {
        "live": shown["run"]["status"] == "started",
        "rows": [row(step) for step in shown["steps"][:MOST_STEPS]],
        "more": max(0, len(shown["steps"]) - MOST_STEPS),
    }


def _errors(asked: Asked) -> Mapping[str, Any]:
    shown = asked.once(snapshot)
    errors, every = shown["errors"][::-1], steps.by_slug(shown["steps"])
    return {
        "errors": [
            (error, steps.item(every[error["step"]], error) if error["step"] in every else "")
            for error in errors[:MOST_ERRORS]
        ],
        "more": max(0, len(errors) - MOST_ERRORS),
    }


PAGE = Page(
    path="/runs/{run}",
    name="run",
    read=_read,
    json=snapshot,
    parts={
        "head": Part(read=_head, watch=watched),
        "asks": ASKS,
        # Sent once: the marks are what changes.
        "graph": Part(read=read_graph),
        "marks": Part(read=read_marks, watch=watched),
        "step": STEP,
        "timeline": Part(read=read_timeline, watch=watched),
        "steps": Part(read=_steps, watch=watched),
        "children": CHILDREN,
        "errors": Part(read=_errors, watch=watched),
        "audit": AUDIT,
        "values": Part(read=_facts, watch=watched),
    },
)
