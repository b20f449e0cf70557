"""The page of one task: what it was called with, each attempt, its output, what it said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.client.reading import check_item, run_json
from pgflow_yaml.errors import NotFound
from pgflow_yaml.runs import steps
from pgflow_yaml.runs.attempts import attempts_of
from pgflow_yaml.runs.logs import LogFilter
from pgflow_yaml.runs.run import run_name
from pgflow_yaml.text import elapsed, moment
from pgflow_yaml.web.pages import queries
from pgflow_yaml.web.pages.of_run import run_id
from pgflow_yaml.web.pages.of_step import condition, outline, step, watched, why
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.snapshot import StepShape, TaskShape
    from pgflow_yaml.web.asked import Asked

LINES = 100


def _index(asked: Asked) -> int:
    """Return the index in the path; raises NotFound for one that the step cannot have."""
    state, text = asked.once(step), asked.params["index"]
    index = queries.whole(text)
    if index is None or (index and not steps.is_wide(state)):
        raise NotFound(f'step "{state["slug"]}" has no item "{text[: queries.LONGEST]}"')
    if steps.is_wide(state):
        check_item(state, index)
    return index


def _task(asked: Asked) -> TaskShape | None:
    run = asked.once(outline)["run"]
    return asked.client.task_snapshot(run["id"], asked.once(step)["slug"], asked.once(_index))


def _json(asked: Asked) -> object:
    item = asked.once(_index) if steps.is_wide(asked.once(step)) else None
    return run_json(asked.client, run_id(asked), step=asked.params["step"], item=item)


def _read(asked: Asked) -> Mapping[str, Any]:
    queries.check(asked, ())
    run, state = asked.once(outline)["run"], asked.once(step)
    slug, index, task = state["slug"], asked.once(_index), asked.once(_task)
    is_wide = steps.is_wide(state)
    title = f"{slug}[{index}]" if is_wide else slug
    item = f" --item {index}" if is_wide else ""
    if not is_wide:
        kind: str = asked.once(condition)
    elif task is not None:
        kind = task["status"]
    else:
        kind = "created"
    return {
        "run": run,
        "step": state,
        "title": title,
        "name": f"{title} · {run_name(run)}",
        "kind": kind,
        "index": index,
        "last": state["tasks"]["total"] - 1,
        "wide": is_wide,
        "path": f"/runs/{run['id']}/steps/{slug}",
        "log": f"/runs/{run['id']}/logs?step={slug}" + (f"&index={index}" if is_wide else ""),
        "command": f"pgflow-yaml show {run['id'][:8]} --step {slug}{item}",
    }


def _head(asked: Asked) -> Mapping[str, Any]:
    run, state, task = asked.once(outline), asked.once(step), asked.once(_task)
    spent = None
    if task is not None and task["started_at"]:
        spent = elapsed(task["started_at"], moment(task["ended_at"] or run["now"]))
    return {
        **asked.once(_read),
        "task": task,
        "seconds": spent,
        "goes_on": task["started_at"] if task is not None and not task["ended_at"] else None,
        "does": steps.action(state),
        "call": steps.call(state) if state["iteration"] else "",
        "progress": steps.progress_words(task["progress"]) if task and task["progress"] else "",
        "why": "" if steps.is_wide(state) else asked.once(why),
    }


def _attempts(asked: Asked) -> Mapping[str, Any]:
    run, task = asked.once(outline), asked.once(_task)
    if task is None:
        return {"rows": [], "cut": False}
    tried = attempts_of(_alone(asked.once(step), task), task["errors"], moment(run["now"]))
    rows = [
        {
            "number": each.error["attempt"] if each.error else task["attempts"],
            "past": bool(each.error and each.error.get("past")),
            "outcome": each.outcome,
            "begin": each.begin.isoformat(),
            "seconds": (each.end - each.begin).total_seconds(),
            "goes_on": each.begin.isoformat() if each.outcome == "started" else None,
            "error": each.error,
        }
        for each in tried
    ]
    return {"rows": rows, "cut": sum(each["error"] is not None for each in rows) == _MOST_ERRORS}


_MOST_ERRORS = 10
"""The errors of a task that its snapshot has."""


def _alone(state: StepShape, task: TaskShape) -> StepShape:
    """Return a step as if this task were its only one."""
    only: Any = {
        **state,
        "status": task["status"],
        "started_at": task["started_at"],
        "ended_at": task["ended_at"],
        "attempts": task["attempts"],
        "tasks": {**state["tasks"], "started": int(task["status"] == "started")},
    }
    alone: StepShape = only
    return alone


def _values(asked: Asked) -> Mapping[str, Any]:
    return {**asked.once(_read), "task": asked.once(_task)}


def _logs(asked: Asked) -> Mapping[str, Any]:
    shown = asked.once(_read)
    index = asked.once(_index) if shown["wide"] else None
    chosen = LogFilter(steps=(shown["step"]["slug"],), index=index)
    lines = asked.client.run_logs(shown["run"]["id"], chosen, limit=LINES)
    return {**shown, "lines": [line.as_json() for line in lines], "most": LINES}


PAGE = Page(
    path="/runs/{run}/steps/{step}/{index}",
    name="task",
    read=_read,
    json=_json,
    parts={
        "head": Part(read=_head, watch=watched),
        "attempts": Part(read=_attempts, watch=watched),
        "values": Part(read=_values, watch=watched),
        "logs": Part(read=_logs, watch=watched),
    },
)
