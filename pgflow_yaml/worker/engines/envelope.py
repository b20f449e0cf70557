"""Messages between a worker and a node of an engine: JSON texts in both directions (X-1).

A call carries the tasks of one step, secrets by name only (X-3). A reply carries an outcome each.
"""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.task import Task

VERSION = 1
MOST_CHARACTERS = 8 * 1024 * 1024
"""Of the tasks in one call together, unless it is one task."""


def call_key(tasks: Sequence[Task]) -> str:
    """Return a name for the call of tasks, different for each run, iteration and attempt (§4.5)."""
    first = tasks[0]
    more = f"+{len(tasks) - 1}" if tasks[1:] else ""
    return f"pgflow-{task_key(first)}#{first.fence}{more}"


def task_key(task: Task) -> str:
    """Return the idempotency key of a task."""
    return f"{task.run_id}/{task.step}/{task.index}/{task.iteration}"


def call_text(tasks: Sequence[Task], *, with_input: bool, results: str | None) -> str:
    """Return the text of a call of tasks that share a step.

    `with_input`: their handler reads the run's input by `ctx`. `results` is a folder of outputs.
    """
    call = tasks[0].call
    contexts = {task.run_id: _context(task, with_input=with_input) for task in tasks}
    return json.dumps(
        {
            "v": VERSION,
            "handler": call.handler,
            "spec": {
                "handler": call.handler,
                "with": call.with_,
                "map": call.is_map,
                "deps": call.has_deps,
                "timeout_ms": call.timeout * 1000,
            },
            "contexts": contexts,
            "calls": [_row(task) for task in tasks],
            "results": results,
        },
        separators=(",", ":"),
    )


def hello_text() -> str:
    """Return the text that asks a node for its versions."""
    return json.dumps({"v": VERSION, "hello": True})


def check_text(handler: str) -> str:
    """Return the text that asks a node whether it has a handler."""
    return json.dumps({"v": VERSION, "check": handler})


def size_of(task: Task) -> int:
    """Return about the number of characters that a task adds to a call."""
    return 500 + (len(json.dumps(task.item)) if task.call.is_map else 0)


def replies(text: str) -> list[dict[str, Any]]:
    """Return the replies of a text, one for each task; raise ValueError for another text."""
    reply = json.loads(text)
    if not isinstance(reply, dict) or reply.get("v") != VERSION:
        raise ValueError("the node speaks another version of pgflow-yaml")
    answers: list[dict[str, Any]] = reply["replies"]
    return answers


def reply_text(answers: Iterable[Json]) -> str:
    """Return the text of the replies to a call."""
    return json.dumps({"v": VERSION, "replies": list(answers)}, separators=(",", ":"))


def _row(task: Task) -> dict[str, Json]:
    row: dict[str, Json] = {
        **task.reference(),
        "uncounted": task.fence - task.attempt,
        "iteration": task.iteration,
        "begin_in": None if task.begin_by == math.inf else task.begin_by - time.monotonic(),
    }
    if task.call.is_map:
        row["item"] = task.item
    return row


def _context(task: Task, *, with_input: bool) -> dict[str, Json]:
    call, context = task.call, task.context
    told: dict[str, Json] = {
        "env": context.env,
        "args": context.args,
        "trace": context.trace,
        "run": {
            "flow": context.flow,
            "retries": context.retries,
            "scheduled_at": context.scheduled_at,
        },
    }
    is_argument = call.with_ is None and not call.is_map and not call.has_deps
    if with_input or is_argument:
        told["run_input"] = context.run_input()
    return told
