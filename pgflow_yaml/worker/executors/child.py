"""A process that runs the handlers of a worker, one at a time: `python -m` this module.

It has no connection to the database. Calls come as frames and outcomes go as frames, over copies of
its first two descriptors; what is printed below Python goes to stderr and breaks no frame (F23).
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.worker.attempt import call_failure, run, run_async
from pgflow_yaml.worker.calls import Handlers, HandlerUnavailable, masks
from pgflow_yaml.worker.executors.frames import Frames, PipeClosed
from pgflow_yaml.worker.logs import catch_logging
from pgflow_yaml.worker.streams import handler_streams, take_record
from pgflow_yaml.worker.task import RunContext, StepCall, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.approval_links import Approval
    from pgflow_yaml.worker.calls import Handler
    from pgflow_yaml.worker.executors.frames import Frame
    from pgflow_yaml.worker.logs import AttemptLog, Logs
    from pgflow_yaml.worker.task import Outcome

_PR_SET_PDEATHSIG = 1


class _Received(Task):
    """A task whose arguments the worker has evaluated."""

    __slots__ = ("_value",)

    def __init__(self, frame: Frame, context: RunContext) -> None:
        call = StepCall({"handler": frame["handler"], "timeout_ms": frame["timeout"] * 1000})
        call.by_name = frame["by_name"]
        super().__init__(frame["task"], call, context)
        self.begin()
        if frame["begin_in"] is not None:
            self.begin_by = self.started + frame["begin_in"]
        self._value: Json = frame["value"]

    def arguments(self, secrets: list[str] | None = None) -> Json:  # noqa: ARG002 (known already)
        """Return the argument of the handler."""
        return self._value


class _Lines:
    """The lines of calls, as `Logs` takes them; the worker stores and shows them."""

    stores, shows, lead = True, False, "none"

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._process = os.getpid()

    def add(self, _log: AttemptLog, level: str, logger: str, text: str) -> None:
        """Send a text; nobody reads what a forked process would send."""
        self._send(kind="log", level=level, logger=logger, text=masks.text(text))

    def report(self, _log: AttemptLog, done: float, words: str) -> None:
        """Send a report of progress."""
        self._send(kind="progress", done=done, words=masks.text(words))

    def close(self, _log: AttemptLog) -> None:
        """Do nothing: all has been sent."""

    def _send(self, **frame: Json) -> None:
        if os.getpid() == self._process:
            with suppress(PipeClosed):  # the worker is gone, and this process ends soon
                self._frames.send(**frame)


class Child:
    """Run one call after the other in the main thread; another thread reads the frames."""

    def __init__(self, frames: Frames, setup: Frame) -> None:
        self._frames = frames
        self._handlers = Handlers(Path(setup["app_dir"]), setup["allow"], setup["only"])
        self._lines = cast("Logs", _Lines(frames))
        self._calls: SimpleQueue[Frame | None] = SimpleQueue()
        self._answers: SimpleQueue[Frame] = SimpleQueue()
        self._asking = threading.Lock()
        self._task: Task | None = None
        self._stopped: list[Json] | None = None
        self._awaited: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    def serve(self) -> None:
        """Run calls until the worker closes the pipe."""
        threading.Thread(target=self._read, name="pgflow-frames", daemon=True).start()
        self._frames.send(kind="ready")
        while (frame := self._calls.get()) is not None:
            for value in frame["secrets"]:
                masks.add(value)
            done = self._called(frame)
            self._task = None
            self._frames.send(**done)

    def _read(self) -> None:
        """Take frames; once the worker is gone, a handler that runs is ended with its process."""
        try:
            while True:
                frame = self._frames.receive()
                if frame["kind"] == "call":
                    self._frames.send(kind="taken")
                    self._calls.put(frame)
                elif frame["kind"] == "answer":
                    self._answers.put(frame)
                else:
                    self._stop(frame["id"])
        except PipeClosed:
            pass
        finally:
            if self._task is not None:
                os._exit(1)
            self._calls.put(None)

    def _stop(self, key: list[Json]) -> None:
        self._stopped = key
        task, awaited = self._task, self._awaited
        if task is None or _id(task) != key:
            return
        task.cancelled = True
        if awaited is not None:
            loop, coroutine = awaited
            with suppress(RuntimeError):  # the loop has ended just now
                loop.call_soon_threadsafe(coroutine.cancel)

    def _called(self, frame: Frame) -> Frame:
        task = _Received(frame, self._context(frame))
        self._task = task
        task.cancelled = self._stopped == _id(task)  # the stop may have come first
        try:
            handler = self._handlers.get(task.call.handler)
            self._frames.send(kind="began")
            outcome = self._run(task, handler)
        except HandlerUnavailable as error:
            return {"kind": "refused", "reason": error.reason}
        except BaseException as error:  # noqa: BLE001 (the call fails, and this process goes on)
            outcome = call_failure(task, error)
        return {
            "kind": "done",
            "outcome": outcome.kind,
            "output": outcome.output,
            "error": outcome.error,
            "delay_ms": outcome.delay_ms,
        }

    def _run(self, task: Task, handler: Handler) -> Outcome:
        if handler.is_async:
            return asyncio.run(self._await(task, handler))
        return run(task, handler, self._beat, logs=self._lines)

    async def _await(self, task: Task, handler: Handler) -> Outcome:
        coroutine = asyncio.current_task()
        assert coroutine is not None
        self._awaited = (asyncio.get_running_loop(), coroutine)
        if task.cancelled:
            coroutine.cancel()
        try:
            return await run_async(task, handler, self._beat, logs=self._lines)
        finally:
            self._awaited = None

    def _beat(self) -> None:
        self._frames.send(kind="beat")

    def _context(self, frame: Frame) -> RunContext:
        return RunContext(
            frame["context"],
            run_input=lambda: self._ask("run_input"),
            secret=_no_secret,
            approval_link=self._link if frame["has_link"] else None,
        )

    def _link(self, approval: Approval) -> str:
        facts: dict[str, Json] = {
            "run": approval.run,
            "step": approval.step,
            "retries": approval.retries,
            "expires": approval.expires.astimezone(UTC).isoformat(),
            "by": approval.by,
        }
        return str(self._ask("link", facts))

    def _ask(self, what: str, facts: Json = None) -> Json:
        """Return something that the worker has and a call seldom needs."""
        with self._asking:
            self._frames.send(kind="ask", what=what, facts=facts)
            answer = self._answers.get()
        if "error" in answer:
            raise PgflowError(answer["error"])
        value: Json = answer["value"]
        return value


def _id(task: Task) -> list[Json]:
    return [task.run_id, task.step, task.index, task.fence]


def _no_secret(name: str) -> str:
    raise PgflowError(f"secret {name}: the worker looks secrets up before the call")


def _die_with(parent: int) -> None:
    """End this process when the worker does, whatever the handler is busy with; in Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before
        os._exit(1)


def _be_first_to_go() -> None:
    """Let a system without memory end this process rather than the worker."""
    file = Path("/proc/self/oom_score_adj")
    with suppress(OSError, ValueError):
        file.write_text(str(min(1000, int(file.read_text()) + 500)))


def _limit_memory(size: int | None) -> None:
    if size is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _own_descriptors() -> Frames:
    """Move the pipes away from where prints and programs of handlers would find them."""
    frames = Frames(os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    os.register_at_fork(after_in_child=frames.close_in_fork)
    return frames


def _prepared(setup: Mapping[str, Any]) -> None:
    _die_with(setup["parent"])
    _be_first_to_go()
    _limit_memory(setup["memory"])
    logging.getLogger().setLevel(setup["log_level"])
    faulthandler.enable()  # where it was when a signal ends it, on stderr
    catch_logging(take_record)


def main() -> None:
    """Serve the worker that has started this process."""
    frames = _own_descriptors()
    with suppress(AttributeError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with suppress(PipeClosed), handler_streams():
        setup = frames.receive()
        _prepared(setup)
        Child(frames, setup).serve()


if __name__ == "__main__":
    main()
