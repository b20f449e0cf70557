"""The contract of executors: each passes the same tests, one that is not of the package as well."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.worker.calls import Handlers
from pgflow_yaml.worker.executors import EXECUTORS, Pool, pool
from pgflow_yaml.worker.executors.event_loop import EventLoop
from pgflow_yaml.worker.executors.threads import Threads
from pgflow_yaml.worker.task import RELEASED, RunContext, StepCall, Task
from tests.fixtures.fresh_threads import FreshThreads
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgflow_yaml.worker.executors.pool import ExecutorFactory
    from tests.fixtures.apps import App

HANDLERS = """
import asyncio, threading, time

gate = threading.Event()
begun = []
calls = most = 0

def double(input): return input * 2
def boom(input): raise ValueError("no")
def wait(input, ctx):
    begun.append(input)
    while not ctx.cancelled and not gate.is_set(): time.sleep(0.01)
    return input
def stubborn(input):
    begun.append(input)
    gate.wait(20)
    return input
def count(input):
    global calls, most
    calls += 1
    most = max(most, calls)
    time.sleep(0.02)
    calls -= 1

async def adouble(input): return input * 2
async def aboom(input): raise ValueError("no")
async def await_(input, ctx):
    begun.append(input)
    while not ctx.cancelled and not gate.is_set(): await asyncio.sleep(0.01)
    return input
async def astubborn(input):
    begun.append(input)
    while not gate.is_set():
        try: await asyncio.sleep(0.01)
        except asyncio.CancelledError: pass
    return input
async def acount(input):
    global calls, most
    calls += 1
    most = max(most, calls)
    await asyncio.sleep(0.02)
    calls -= 1
"""
SYNC = {name: f"jobs.{name}" for name in ("double", "boom", "wait", "stubborn", "count")}
ASYNC = {name: f"jobs.a{name}" for name in SYNC} | {"wait": "jobs.await_"}
SIZE = 2


class Bench:
    """A pool, and tasks for it."""

    def __init__(
        self, app: App, executors: Sequence[ExecutorFactory], names: dict[str, str]
    ) -> None:
        self.pool = Pool(SIZE, Handlers(app.folder), executors, beat=lambda: None)
        self._names = names

    def task(self, name: str, value: int, *, timeout: float = 20) -> Task:
        """Return a task that calls one of the handlers above."""
        path = self._names.get(name, name)
        call = StepCall({"handler": path, "timeout_ms": timeout * 1000})
        context = RunContext({}, run_input=lambda: value, secret=str)
        return Task({"run": "r", "step": name, "index": value, "attempt": 1}, call, context)

    def submit(self, name: str, values: Sequence[int]) -> list[Task]:
        """Submit a task for each value and return the tasks."""
        tasks = [self.task(name, value) for value in values]
        self.pool.submit(tasks)
        return tasks

    def results(self, count: int) -> dict[int, Task]:
        """Return the next tasks to finish, exactly `count`, by their value."""
        tasks: list[Task] = []

        def take() -> bool:
            tasks.extend(self.pool.results.take())
            return len(tasks) >= count

        eventually(take, what=f"{count} tasks finish")
        assert len(tasks) == count
        return {task.index: task for task in tasks}


@pytest.fixture(
    params=[(Threads, SYNC), (EventLoop, ASYNC), (FreshThreads, SYNC), (FreshThreads, ASYNC)],
    ids=["threads", "event_loop", "fresh_threads", "fresh_threads_async"],
)
def bench(request: pytest.FixtureRequest, app: App) -> Iterator[Bench]:
    """A pool with each executor in turn; its handlers are let go at the end."""
    kind, names = request.param
    app.write("jobs.py", HANDLERS)
    bench = Bench(app, [kind], names)
    yield bench
    jobs().gate.set()
    bench.pool.close()


def jobs() -> Any:
    """Return the module of the handlers."""
    import jobs  # type: ignore[import-not-found]

    return jobs


def kind_of(task: Task) -> str:
    """Return what became of a task."""
    assert task.outcome is not None
    return task.outcome.kind


def all_begun(count: int) -> None:
    """Wait until this number of handlers has begun."""
    eventually(lambda: len(jobs().begun) == count, what=f"{count} handlers begin")


def test_each_task_is_finished_with_its_outcome(bench: Bench) -> None:
    """More tasks than slots, in two submissions."""
    bench.submit("double", range(10))
    bench.submit("double", range(10, 20))

    tasks = bench.results(20)

    outputs = {value: task.outcome.output for value, task in tasks.items() if task.outcome}
    assert outputs == {value: str(value * 2) for value in range(20)}
    assert bench.pool.queued() == 0
    assert not bench.pool.running


def test_an_exception_fails_its_task_only(bench: Bench) -> None:
    """The executor goes on."""
    bench.submit("boom", [1])
    bench.submit("double", [2])

    tasks = bench.results(2)

    assert kind_of(tasks[1]) == "failed"
    assert tasks[1].outcome
    assert (tasks[1].outcome.error or {})["type"] == "ValueError"
    assert kind_of(tasks[2]) == "completed"


def test_no_more_handlers_run_than_there_are_slots(bench: Bench) -> None:
    """And all slots are used."""
    bench.submit("count", range(8))

    bench.results(8)

    assert jobs().most == SIZE


def test_a_missing_handler_releases_its_task(bench: Bench) -> None:
    """With the reason, for the refusal of its handler (R-6)."""
    bench.pool.submit([bench.task("jobs.missing", 1)])

    task = bench.results(1)[1]

    assert kind_of(task) == "released"
    assert task.refused is not None
    assert 'no "missing"' in task.refused


def test_a_cancelled_handler_ends(bench: Bench) -> None:
    """It is reported once, and no other handler is disturbed."""
    first, _ = bench.submit("wait", [1, 2])
    all_begun(2)

    bench.pool.cancel(first)

    assert list(bench.results(1)) == [1]
    assert len(bench.pool.running) == 1
    jobs().gate.set()
    assert kind_of(bench.results(1)[2]) == "completed"


def test_a_task_cancelled_before_it_begins_is_released(bench: Bench) -> None:
    """Its handler is not called."""
    bench.submit("wait", [1, 2])
    all_begun(2)
    (third,) = bench.submit("stubborn", [3])

    bench.pool.cancel(third)
    jobs().gate.set()

    assert kind_of(bench.results(3)[3]) == "released"
    assert jobs().begun == [1, 2] or jobs().begun == [2, 1]


def test_a_handler_that_is_given_up_is_reported_at_once(bench: Bench) -> None:
    """After its timeout or at a stop; what it returns later is dropped."""
    late, other = bench.submit("stubborn", [1, 2])
    all_begun(2)

    bench.pool.expire(late)
    bench.pool.give_up(other, RELEASED)

    tasks = bench.results(2)
    assert tasks[1].outcome
    error = tasks[1].outcome.error or {}
    assert (error["type"], error["message"]) == (
        "Timeout",
        "the handler did not return within 20 s",
    )
    assert kind_of(tasks[2]) == "released"
    assert bench.pool.abandoned == 2
    jobs().gate.set()
    eventually(lambda: bench.pool.abandoned == 0, what="the late handlers end")
    bench.submit("double", [3])
    assert list(bench.results(1)) == [3]


def test_a_handler_that_was_told_and_goes_on_loses_its_slot(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others begin, as many as there are slots; its result is reported when it returns."""
    monkeypatch.setattr(pool, "DEAF_SECONDS", 0.0)
    told = bench.submit("stubborn", [1, 2])
    all_begun(2)
    others = bench.submit("stubborn", [3, 4, 5])
    for task in told:
        bench.pool.cancel(task)

    bench.pool.watch(20)

    all_begun(4)
    bench.pool.cancel(others[0])
    bench.pool.watch(20)
    assert bench.pool.queued() == 1
    assert not bench.results(0)
    jobs().gate.set()
    assert sorted(bench.results(5)) == [1, 2, 3, 4, 5]
    jobs().gate.clear()
    bench.submit("wait", [6, 7, 8])
    all_begun(7)
    assert bench.pool.queued() == 1


def test_a_handler_that_was_told_a_lease_ago_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its slot was taken or not: a run that is ending waits no longer."""
    monkeypatch.setattr(pool, "DEAF_SECONDS", 0.0)
    tasks = bench.submit("stubborn", [1, 2])
    all_begun(2)
    bench.pool.cancel(tasks[0])
    bench.pool.watch(20)
    bench.pool.cancel(tasks[1])

    bench.pool.watch(0)

    assert [kind_of(task) for task in bench.results(2).values()] == ["released", "released"]
    assert bench.pool.abandoned == 2
    jobs().gate.set()
    eventually(lambda: bench.pool.abandoned == 0, what="the late handlers end")
    bench.submit("double", [3])
    assert list(bench.results(1)) == [3]


def test_tasks_that_wait_can_be_given_back(bench: Bench) -> None:
    """The last ones first; what runs goes on."""
    bench.submit("wait", range(1, SIZE + 1))
    all_begun(SIZE)
    bench.submit("double", [11, 12, 13])
    assert bench.pool.queued() == 3

    bench.pool.release(2)

    tasks = bench.results(2)
    assert sorted(tasks) == [12, 13]
    assert {kind_of(task) for task in tasks.values()} == {"released"}
    assert bench.pool.queued() == 1
    jobs().gate.set()
    assert 11 in bench.results(SIZE + 1)


def test_close_ends_idle_threads(bench: Bench) -> None:
    """No thread of an executor outlives the pool."""
    before = set(threading.enumerate())
    bench.submit("double", range(4))
    bench.results(4)

    bench.pool.close()

    eventually(lambda: set(threading.enumerate()) <= before, what="the threads end")


def test_the_first_executor_that_takes_a_handler_runs_it(app: App) -> None:
    """The last one gets each task first and passes it on."""
    app.write(
        "jobs.py",
        """
        import threading
        def here(input): return threading.current_thread().name
        async def there(input): return threading.current_thread().name
        """,
    )
    bench = Bench(app, EXECUTORS["thread"], {})

    bench.submit("jobs.here", [1])
    bench.submit("jobs.there", [2])

    outputs = {
        value: task.outcome.output for value, task in bench.results(2).items() if task.outcome
    }
    bench.pool.close()
    assert outputs == {1: '"pgflow-handler"', 2: '"pgflow-event-loop"'}
