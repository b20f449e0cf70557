"""A node of an engine: it finds the handler by its own rules, calls it, and replies (X-2, X-3).

The engine imports `call` by its name. The environment of its processes decides what may be called:
PGFLOW_YAML_APP_DIR (the current folder if it is not set), PGFLOW_YAML_ALLOW (prefixes, with commas
between them), and PGFLOW_YAML_SECRETS (a folder or a file). No text can widen that (S-8).
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import re
import socket
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.worker.attempt import call_failure, run, run_async
from pgflow_yaml.worker.calls import Handlers, HandlerUnavailable, Secrets, masks, summary
from pgflow_yaml.worker.engines.envelope import VERSION, reply_text, task_key
from pgflow_yaml.worker.logs import catch_logging
from pgflow_yaml.worker.logs.catching import HANDLER_LOG
from pgflow_yaml.worker.streams import mask_until_exit, take_record
from pgflow_yaml.worker.task import RunContext, StepCall, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.logs import AttemptLog, Logs
    from pgflow_yaml.worker.task import Outcome

LOG_CHARACTERS = 64 * 1024
"""Of the lines of one call; more are counted, not sent."""


class InputWanted(Exception):
    """The handler reads the input of its run, which did not come with its call."""


class Received(Task):
    """A task on a node: nobody can tell it that it is cancelled, but its time can be up."""

    __slots__ = ()

    @property
    def cancelled(self) -> bool:
        """True when its time is up."""
        return 0 < self.deadline < time.monotonic()

    @cancelled.setter
    def cancelled(self, _value: bool) -> None:
        """Ignore the value: only the time decides."""


class Lines:
    """The lines of one call, as `Logs` takes them; they travel with its reply."""

    stores, shows, lead = True, True, "none"

    def __init__(self) -> None:
        self.lines: list[Json] = []
        self.progress: Json = None
        self._size = self._left_out = 0

    def add(self, _log: AttemptLog, level: str, logger: str, text: str) -> None:
        """Keep a line, or count it."""
        if logger in {"stdout", "stderr"}:  # shown in the log of the engine
            return
        shown = masks.text(text)
        self._size += len(shown)
        if self._size > LOG_CHARACTERS:
            self._left_out += 1
        else:
            self.lines.append([level, logger, shown])

    def report(self, _log: AttemptLog, done: float, words: str) -> None:
        """Keep the last report of progress."""
        self.progress = [done, masks.text(words)]

    def close(self, _log: AttemptLog) -> None:
        """Add a line with the number of missing ones."""
        if self._left_out:
            text = f"{self._left_out} more lines are left out: an engine sends 64 kB a call"
            self.lines.append(["warning", HANDLER_LOG, text])


def call(text: str) -> str:
    """Run the tasks of a call one after the other; return the text of its replies."""
    message = json.loads(text)
    if message["v"] != VERSION:
        return reply_text([_refusal("it speaks another version of pgflow-yaml")])
    if message.get("hello"):
        return reply_text([_about()])
    if "check" in message:
        return reply_text([_checked(message["check"])])
    return reply_text([_called(row, message) for row in message["calls"]])


def _about() -> dict[str, Json]:
    return {**_place(), "python": sys.version.split()[0], "release": version("pgflow-yaml")}


def _place() -> dict[str, Json]:
    return {"node": socket.gethostname(), "pid": os.getpid()}


def _checked(path: str) -> Json:
    try:
        _handlers().get(path)
    except HandlerUnavailable as error:
        return _refusal(error.reason)
    return {"kind": "available"}


def _refusal(reason: str) -> dict[str, Json]:
    return {"kind": "refused", "reason": f"{reason} (on {socket.gethostname()})"}


class _Here:
    """Facts about this process."""

    is_worker = False


def in_worker() -> None:
    """Remember that this process is a worker, which looks after its streams itself."""
    _Here.is_worker = True


@functools.cache
def _handlers() -> Handlers:
    environ = os.environ
    catch_logging(take_record)
    if not _Here.is_worker:
        mask_until_exit()
    allow = [prefix for prefix in environ.get("PGFLOW_YAML_ALLOW", "").split(",") if prefix]
    return Handlers(Path(environ.get("PGFLOW_YAML_APP_DIR", ".")), allow)


@functools.cache
def _secrets() -> Secrets:
    return Secrets(os.environ.get("PGFLOW_YAML_SECRETS"))


def _called(row: dict[str, Any], message: Mapping[str, Any]) -> dict[str, Json]:
    """Return the reply for one task; never raise."""
    began = time.monotonic()
    lines = Lines()
    task = _task(row, message)
    try:
        if (kept := _kept(task, message["results"])) is not None:
            return {"kind": "completed", "output": kept, "elapsed": 0.0, **_place()}
        outcome = _outcome(task, message, lines)
    except InputWanted:
        return {"kind": "wants_input"}
    except HandlerUnavailable as error:
        return _refusal(error.reason)
    except BaseException as error:  # noqa: BLE001 (the other tasks of the call go on)
        outcome = call_failure(task, error)
    if outcome.kind == "completed":
        _keep(task, message["results"], outcome.output)
    return {
        "kind": outcome.kind,
        "output": outcome.output,
        "error": outcome.error,
        "delay_ms": outcome.delay_ms,
        "elapsed": time.monotonic() - began,
        "lines": lines.lines,
        "progress": lines.progress,
        **_place(),
    }


def _task(row: dict[str, Any], message: Mapping[str, Any]) -> Received:
    told = message["contexts"][row["run"]]

    def run_input() -> Json:
        if "run_input" not in told:
            raise InputWanted
        value: Json = told["run_input"]
        return value

    context = RunContext(told, run_input=run_input, secret=_secrets().get)
    context.uses = len(message["calls"])
    task = Received(row, StepCall(message["spec"]), context)
    task.begin()
    if row["begin_in"] is not None:
        task.begin_by = task.started + row["begin_in"]
    return task


def _outcome(task: Task, message: Mapping[str, Any], lines: Lines) -> Outcome:
    handler = _handlers().get(task.call.handler)
    if handler.takes_ctx and "run_input" not in message["contexts"][task.run_id]:
        raise InputWanted  # before the call: it may use it at any time
    logs = cast("Logs", lines)
    if handler.is_async:
        return asyncio.run(run_async(task, handler, _beat, logs=logs))
    return run(task, handler, _beat, logs=logs)


def _beat() -> None:
    """Do nothing: the worker keeps the leases of all that its engine runs."""


# Outputs that outlive the worker which has asked for them


def _kept(task: Task, folder: str | None) -> str | None:
    """Return the output that an earlier attempt has left; None if there is none that is whole."""
    if folder is None:
        return None
    try:
        output: str = json.loads(_file(task, folder).read_text("utf-8"))["output"]
    except (OSError, LookupError, TypeError, ValueError):
        return None
    return output


def _keep(task: Task, folder: str | None, output: str) -> None:
    """Leave an output for a later attempt, should nobody hear of this one."""
    if folder is None:
        return
    file = _file(task, folder)
    part = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"output": output}), "utf-8")
        part.replace(file)
    except OSError as error:
        logging.getLogger(__name__).warning("an output was not kept: %s", summary(error))
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _file(task: Task, folder: str) -> Path:
    # S-8: a name from the database must not lead out of the folder.
    name = re.sub(r"[^\w-]", "_", f"{task_key(task).partition('/')[2]}/{task.retries}")
    return Path(folder) / re.sub(r"[^\w-]", "_", task.run_id) / f"{name}.json"
