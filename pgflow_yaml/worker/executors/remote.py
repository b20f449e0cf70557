"""One call in a child, as its worker sees it: arguments go down; lines and the outcome come up."""

from __future__ import annotations

import logging
import math
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pgflow_yaml.runs.approval_links import Approval
from pgflow_yaml.worker.attempt import failure
from pgflow_yaml.worker.calls import clean, masks, summary
from pgflow_yaml.worker.executors.children import death
from pgflow_yaml.worker.executors.frames import PipeClosed
from pgflow_yaml.worker.streams import Speaker, speaker
from pgflow_yaml.worker.task import NOT_BEGUN, RELEASED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.executors.children import ChildProcess
    from pgflow_yaml.worker.executors.frames import Frame
    from pgflow_yaml.worker.executors.pool import Pool
    from pgflow_yaml.worker.task import Task

_STREAMS = ("stdout", "stderr")


class RemoteCall:
    """The call of one task; one thread runs it, others may stop it."""

    def __init__(self, task: Task, child: ChildProcess, pool: Pool) -> None:
        self.child = child
        self._task = task
        self._pool = pool
        self._speaker = Speaker(task, pool.logs)
        self._is_taken = False
        # The fence of the task may grow when this worker takes over from itself.
        self._id: list[Json] = [task.run_id, task.step, task.index, task.fence]
        self._takes: dict[str, Callable[[Frame], None]] = {
            "taken": self._taken,
            "began": self._began,
            "log": self._log,
            "progress": self._progress,
            "beat": lambda _: pool.beat(),
            "ask": self._answer,
        }

    def stop(self) -> bool:
        """Set `ctx.cancelled` in the child; False if the pipe is full just now."""
        return self.child.frames.send_now(kind="stop", id=self._id)

    def run(self) -> Outcome:
        """Return the outcome of the call."""
        task = self._task
        token = speaker.set(self._speaker)
        try:
            if task.context.span is None:
                return self._run()
            with task.context.span(task) as ended:
                return ended(self._run())
        finally:
            self._speaker.end()
            speaker.reset(token)

    def _run(self) -> Outcome:
        task, began = self._task, time.monotonic()
        secrets: list[str] = []
        try:
            value = task.arguments(secrets)
        except BaseException as error:  # noqa: BLE001 (as for a call in a thread)
            return failure(error, began=began)
        if time.monotonic() > task.begin_by:
            return NOT_BEGUN
        if task.cancelled:
            return RELEASED
        try:
            self.child.frames.send(**self._frame(value, secrets))
            while True:
                frame = self.child.frames.receive()
                take = self._takes.get(frame["kind"])
                if take is None:
                    return self._outcome(frame, began)
                take(frame)
        except PipeClosed:
            return self._death(began)

    def _frame(self, value: Json, secrets: list[str]) -> dict[str, Any]:
        task, now = self._task, time.monotonic()
        run, step, index, fence = self._id
        context = task.context
        return {
            "kind": "call",
            "task": {
                "run": run,
                "step": step,
                "index": index,
                "attempt": fence,
                "uncounted": task.fence - task.attempt,
                "iteration": task.iteration,
            },
            "handler": task.call.handler,
            "by_name": task.call.by_name,
            "value": value,
            "secrets": secrets,
            "timeout": task.deadline - now,
            "begin_in": None if task.begin_by == math.inf else task.begin_by - now,
            "context": {
                "run": {
                    "flow": context.flow,
                    "retries": context.retries,
                    "scheduled_at": context.scheduled_at,
                },
                "trace": context.trace,
            },
            "has_link": context.approval_link is not None,
        }

    def _outcome(self, frame: Frame, began: float) -> Outcome:
        task = self._task
        if frame["kind"] == "refused":  # released, and refused from now on
            task.refused = clean(frame["reason"])
            return RELEASED
        error = frame["error"]
        if error is not None:
            error = {name: clean(text, limit=len(text)) for name, text in error.items()}
        if frame["outcome"] == "released":
            return NOT_BEGUN if error is not None else RELEASED
        # The child knows the secrets of its calls, the worker knows all.
        return Outcome(
            frame["outcome"],
            output=masks.json_text(frame["output"]),
            error=error,
            delay_ms=frame["delay_ms"],
            began=began,
        )

    def _death(self, began: float) -> Outcome:
        """Return the outcome of a child that has died: it concerns the task that it ran, alone."""
        sentence = death(self.child.bury())
        died_before = not self._is_taken and self.child.calls > 1  # while it was idle
        if self._task.cancelled or died_before:
            return RELEASED
        error: dict[str, Json] = {"type": "Crashed", "message": sentence}
        return Outcome("crashed", error=error, began=began)

    # Frames that come before the last one

    def _taken(self, _frame: Frame) -> None:
        self._is_taken = True

    def _began(self, _frame: Frame) -> None:
        self._task.imported = True

    def _log(self, frame: Frame) -> None:
        """Print or log a line here, in the name of the call."""
        name, text = frame["logger"], frame["text"]
        if name in _STREAMS:
            getattr(sys, name).write(f"{text}\n")
            return
        level = logging.getLevelNamesMapping()[frame["level"].upper()]
        logger = logging.getLogger(name)
        logger.log(level, "%s", text, extra=self._task.fields("handler"))

    def _progress(self, frame: Frame) -> None:
        self._speaker.report(frame["done"], frame["words"])

    def _answer(self, frame: Frame) -> None:
        try:
            value = self._asked(frame["what"], frame["facts"])
        except Exception as error:  # noqa: BLE001 (raised again in the handler)
            self.child.frames.send(kind="answer", error=summary(error))
        else:
            self.child.frames.send(kind="answer", value=value)

    def _asked(self, what: str, facts: Any) -> Json:
        context = self._task.context
        if what == "run_input":
            return context.run_input()
        assert context.approval_link is not None
        expires = datetime.fromisoformat(facts["expires"])
        return context.approval_link(Approval(**{**facts, "expires": expires}))
