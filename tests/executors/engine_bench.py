"""A pool on an engine with scripted deaths, and tasks for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.calls import Handlers
from pgflow_yaml.worker.engines.bridge import Bridge
from pgflow_yaml.worker.executors import InEngine, Pool
from pgflow_yaml.worker.logs import Logs
from pgflow_yaml.worker.task import RunContext, StepCall, Task
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.executors.fake_engine import FakeEngine, Submitted
    from tests.fixtures.apps import App

HANDLERS = """
import logging, threading, time
from pathlib import Path

from pgflow_yaml.errors import RetryLater

gate = threading.Event()

def double(input): return input * 2
async def adouble(input): return input * 2
def boom(input): raise ValueError("no")
def later(input): raise RetryLater(7)
def big(input): return "x" * 3_000_000
def say(input, ctx):
    logging.getLogger("shop").warning("logged %s", input)
    ctx.log.info("by ctx")
    ctx.progress(0.5, "half")
def chatter(input, ctx):
    for number in range(2000): ctx.log.info("%s", "x" * 100)
def about(input, ctx):
    return [ctx.run_id, ctx.step, ctx.index, ctx.attempt, ctx.run_input, ctx.heartbeat()]
def count(input):
    with Path(input).open("a") as file: file.write("x")
    return "done"
def wait(input):
    gate.wait(40)
    return input
def late(input, ctx):
    while not ctx.cancelled: time.sleep(0.01)
def leak(key): return len(key)
"""


class Bench:
    """A pool on an engine, and tasks for it."""

    def __init__(self, app: App, engine: FakeEngine, **settings: Any) -> None:
        self.engine = engine
        self.logs = Logs()
        self._calls: dict[str, StepCall] = {}
        make = InEngine(make=lambda: engine, **settings)
        self.pool = Pool(1000, Handlers(app.folder), [make], beat=lambda: None, logs=self.logs)
        self.pool.open()

    @property
    def bridge(self) -> Bridge:
        """The executor of the pool."""
        executor = self.pool._default
        assert isinstance(executor, Bridge)
        return executor

    def call(self, name: str, *, timeout: float = 40, seconds: float | None = None) -> StepCall:
        """Return the call of a step; `seconds`: its known mean time."""
        if name not in self._calls:
            spec = {"handler": f"jobs.{name}", "timeout_ms": timeout * 1000, "map": True}
            self._calls[name] = StepCall(spec)
            self._calls[name].seconds = seconds
        return self._calls[name]

    def task(self, name: str, value: Any = 1, *, index: int = 0, **options: Any) -> Task:
        """Return a task that calls one of the handlers above with an item of a map."""
        call = self.call(name, **options)
        context = RunContext({}, run_input=lambda: {"of": "run"}, secret=lambda _: "")
        row = {"run": "r", "step": name, "index": index, "attempt": 1, "item": value}
        return Task(row, call, context)

    def begin(self, *tasks: Task) -> list[Submitted]:
        """Submit tasks; return their calls once the engine has them."""
        before = len(self.engine.calls)
        self.pool.submit(tasks)
        eventually(lambda: len(self.engine.calls) > before, what="the engine gets the call")
        return self.engine.calls[before:]

    def result(self, name: str, value: Any = 1, **options: Any) -> Task:
        """Return the task of a call once it has ended."""
        self.pool.submit([self.task(name, value, **options)])
        return self.results(1)[0]

    def results(self, count: int) -> list[Task]:
        """Return the next tasks to finish."""
        tasks: list[Task] = []

        def take() -> bool:
            self.pool.watch(30)
            tasks.extend(self.pool.results.take())
            return len(tasks) >= count

        eventually(take, what=f"{count} tasks finish")
        return tasks

    def lines(self) -> list[tuple[str, str, str]]:
        """Return what calls have said: level, logger and text."""
        return [line[1:] for part in self.logs.take().parts for line in part.lines]


def outcome(task: Task) -> tuple[str, Any]:
    """Return the kind of an outcome, and its output or the type and message of its error."""
    assert task.outcome is not None
    error = task.outcome.error
    if error is None:
        return task.outcome.kind, json.loads(task.outcome.output)
    return task.outcome.kind, (error["type"], error["message"])
