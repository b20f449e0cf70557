"""The replies of nodes, as outcomes of their tasks; the lines of handlers come with them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.calls import clean, masks
from pgflow_yaml.worker.streams import Speaker, speaker
from pgflow_yaml.worker.task import NOT_BEGUN, RELEASED, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.executors.pool import Pool
    from pgflow_yaml.worker.task import Task


def land(pool: Pool, task: Task, answer: Mapping[str, Any]) -> None:
    """Report what a node has said about a task: its lines, and its outcome."""
    call = Speaker(task, pool.logs)
    token = speaker.set(call)
    try:
        place = {"node": answer.get("node"), "node_pid": answer.get("pid")}
        for level, logger, text in answer.get("lines", ()):
            number = logging.getLevelNamesMapping()[level.upper()]
            fields = {**task.fields("handler"), **place}
            logging.getLogger(logger).log(number, "%s", text, extra=fields)
        if progress := answer.get("progress"):
            call.report(*progress)
    finally:
        call.end()
        speaker.reset(token)
    outcome = _outcome(task, answer)
    if task.context.span is not None:
        with task.context.span(task) as ended:
            ended(outcome)
    pool.finish(task, outcome)


def _outcome(task: Task, answer: Mapping[str, Any]) -> Outcome:
    kind = answer["kind"]
    if kind == "refused":  # released, and refused from now on
        task.refused = clean(answer["reason"])
        return RELEASED
    error = _error(answer)
    if kind == "released":
        return NOT_BEGUN if error is not None else RELEASED
    # The node knows the secrets of its calls, the worker knows its own.
    return Outcome(
        kind,
        output=masks.json_text(answer["output"]),
        error=error,
        delay_ms=answer.get("delay_ms"),
        began=time.monotonic() - answer["elapsed"],
    )


def _error(answer: Mapping[str, Any]) -> dict[str, Json] | None:
    """Return the record of an error; its trace ends with the node where it was raised."""
    error = answer.get("error")
    if error is None:
        return None
    record: dict[str, Json] = {
        name: clean(text, limit=len(text)) if isinstance(text, str) else text
        for name, text in error.items()
    }
    place = f"on {answer['node']}, process {answer['pid']}\n"
    return {**record, "trace": f"{record.get('trace', '')}{place}"}
