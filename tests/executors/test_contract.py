"""What becomes of a task when its engine does what engines do (scale-out.md §4.5), row by row."""

from __future__ import annotations

import json
import os
import socket
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.errors import Unavailable
from pgflow_yaml.worker.calls import Handlers, HandlerUnavailable
from pgflow_yaml.worker.engines import node, traffic
from pgflow_yaml.worker.engines.bridge import Bridge
from pgflow_yaml.worker.executors import InEngine, Pool
from pgflow_yaml.worker.logs import Logs, catch_logging
from pgflow_yaml.worker.streams import take_record
from pgflow_yaml.worker.task import RunContext, StepCall, Task
from tests.executors.fake_engine import Died, Drained, FakeEngine
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.executors.fake_engine import Submitted
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


@pytest.fixture
def benches(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Return a function from an engine to a bench; nodes find the handlers above."""
    app.write("jobs.py", HANDLERS)
    monkeypatch.setenv("PGFLOW_YAML_APP_DIR", str(app.folder))
    node._handlers.cache_clear()
    catch_logging(take_record)
    made: list[Bench] = []

    def make(engine: FakeEngine | None = None, **settings: Any) -> Bench:
        made.append(Bench(app, engine or FakeEngine(), **settings))
        return made[-1]

    yield make
    for bench in made:
        node._handlers().get("jobs.wait").function.__globals__["gate"].set()
        bench.pool.close()
    node._handlers.cache_clear()


@pytest.fixture
def bench(benches: Callable[..., Bench]) -> Bench:
    """A pool on an engine with two slots."""
    return benches()


def outcome(task: Task) -> tuple[str, Any]:
    """Return the kind of an outcome, and its output or the type and message of its error."""
    assert task.outcome is not None
    error = task.outcome.error
    if error is None:
        return task.outcome.kind, json.loads(task.outcome.output)
    return task.outcome.kind, (error["type"], error["message"])


# Calls


@pytest.mark.parametrize("name", ["double", "adouble"])
def test_handlers_of_both_kinds_return_values(bench: Bench, name: str) -> None:
    assert outcome(bench.result(name, 21)) == ("completed", 42)


def test_what_a_handler_raises_carries_its_trace_and_its_node(bench: Bench) -> None:
    task = bench.result("boom")
    assert outcome(task) == ("failed", ("ValueError", "no"))
    assert task.outcome is not None
    assert task.outcome.error is not None
    *_, line, place = str(task.outcome.error["trace"]).splitlines()
    assert line.strip() == 'def boom(input): raise ValueError("no")'
    assert place == f"on {socket.gethostname()}, process {os.getpid()}"


def test_a_handler_can_ask_for_a_later_call(bench: Bench) -> None:
    task = bench.result("later")
    assert task.outcome is not None
    assert (task.outcome.kind, task.outcome.delay_ms) == ("retry_later", 7000)


def test_an_output_over_two_megabytes_is_refused_on_its_node(bench: Bench) -> None:
    kind, error = outcome(bench.result("big"))
    assert (kind, error[0]) == ("fatal", "UnserialisableOutput")
    assert all(len(call.future.result()) < 10_000 for call in bench.engine.calls)


def test_the_input_of_the_run_travels_only_to_handlers_with_ctx(bench: Bench) -> None:
    bench.result("double")
    assert outcome(bench.result("about", 5)) == (
        "completed",
        ["r", "about", 0, 1, {"of": "run"}, True],
    )
    bench.result("about", 6, index=1)
    assert ["run_input" in call.text for call in bench.engine.calls] == [False, False, True, True]


def test_lines_and_progress_come_with_the_reply(bench: Bench) -> None:
    bench.result("say", 3)
    assert ("warning", "shop", "logged 3") in bench.lines()


def test_lines_beyond_64_kilobytes_are_counted(bench: Bench) -> None:
    bench.result("chatter")
    lines = bench.lines()
    assert 600 < len(lines) < 700
    left_out = 2000 - (len(lines) - 1)
    assert lines[-1][2].startswith(f"{left_out} more lines are left out")


def test_secrets_travel_by_name_only(
    benches: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGFLOW_YAML_SECRET_CANARY", "tweet-tweet-tweet")
    bench = benches()
    spec = {
        "handler": "jobs.leak",
        "timeout_ms": 40_000,
        "with": ["dict", "key", ["path", "secrets.CANARY"]],
    }
    call = StepCall(spec)
    context = RunContext({}, run_input=lambda: None, secret=lambda _: "never asked here")
    row = {"run": "r", "step": "leak", "index": 0, "attempt": 1}
    bench.pool.submit([Task(row, call, context)])
    assert outcome(bench.results(1)[0]) == ("completed", len("tweet-tweet-tweet"))
    sent = bench.engine.calls[0]
    assert "tweet-tweet" not in sent.text + sent.future.result()


def test_each_attempt_has_a_name_of_its_own(bench: Bench) -> None:
    first, second = bench.task("double"), bench.task("double", index=1)
    again = bench.task("double")
    again.fence = 2
    for task in (first, second, again):
        bench.pool.submit([task])
        bench.results(1)
    keys = [call.key for call in bench.engine.calls]
    assert keys == ["pgflow-r/double/0/0#1", "pgflow-r/double/1/0#1", "pgflow-r/double/0/0#2"]


# Refusals


def test_a_handler_that_a_node_lacks_is_refused_there(bench: Bench) -> None:
    task = bench.result("nothing")
    assert outcome(task) == ("released", None)
    assert 'there is no "nothing"' in str(task.refused)


def test_a_refused_handler_is_looked_for_on_a_node(bench: Bench) -> None:
    bench.pool.handlers.check("jobs.double")
    with pytest.raises(HandlerUnavailable, match="is of the standard library"):
        bench.pool.handlers.check("os.system")


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"python": "2.7.18", "release": "0.1.0", "node": "n1"}, "runs Python 2.7.18 on n1"),
        ({"python": None, "release": "9.0", "node": "n1"}, "has pgflow-yaml 9.0 on n1"),
        ({"kind": "refused", "reason": "it speaks another version"}, "install pgflow-yaml"),
    ],
)
def test_other_versions_on_a_node_are_told_before_anything_is_claimed(
    benches: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
    about: dict[str, Any],
    sentence: str,
) -> None:
    if about.get("python", "") is None:
        about["python"] = node._about()["python"]
    monkeypatch.setattr(node, "_about", lambda: about)
    with pytest.raises(Unavailable, match=sentence):
        benches()


# Deaths


def test_the_death_of_a_process_of_its_own_is_a_crash(bench: Bench) -> None:
    bench.engine.deaths = lambda _: Died()
    assert outcome(bench.result("double")) == ("crashed", ("Crashed", "node 7 died: Died"))
    assert len(bench.engine.calls) == 1


def test_a_task_that_dies_beside_others_is_tried_alone_before_it_is_blamed(
    benches: Callable[..., Bench],
) -> None:
    bench = benches(FakeEngine(slots=4, isolates=False))
    others = [bench.task("wait", n, index=n) for n in range(2)]
    bench.begin(*others)
    bench.engine.deaths = lambda call: Died() if "double" in call.text else None
    bench.pool.submit([bench.task("double")])
    # No second try while the others run: they could be lost with it.
    eventually(lambda: bench.bridge._traffic.apart, what="the suspect waits")
    assert len(bench.engine.calls) == 3
    node._handlers().get("jobs.wait").function.__globals__["gate"].set()
    ends = {task.step: outcome(task)[0] for task in bench.results(3)}
    assert ends == {"wait": "completed", "double": "crashed"}
    assert len(bench.engine.calls) == 4


def test_a_lost_bundle_is_split_and_only_its_killer_crashes(bench: Bench) -> None:
    bench.engine.deaths = lambda call: Died() if '"item":7' in call.text else None
    tasks = [bench.task("double", n, index=n, seconds=0.001) for n in range(10)]
    bench.pool.submit(tasks)
    ends = {task.index: outcome(task) for task in bench.results(10)}
    assert ends.pop(7)[0] == "crashed"
    assert ends == {n: ("completed", 2 * n) for n in range(10) if n != 7}
    assert max(len(json.loads(call.text)["calls"]) for call in bench.engine.calls) == 10


def test_a_node_that_is_shut_down_in_order_costs_a_task_nothing(bench: Bench) -> None:
    bench.engine.deaths = lambda _: Drained()
    assert outcome(bench.result("double")) == ("released", None)


def test_a_call_that_somebody_else_cancels_is_a_crash(bench: Bench) -> None:
    (call,) = bench.begin(bench.task("wait"))
    bench.engine.lose(call, CancelledError())
    assert outcome(bench.results(1)[0])[0] == "crashed"


def test_a_call_that_nobody_knows_of_any_more_times_out(bench: Bench) -> None:
    bench.engine.holds = True
    (call,) = bench.begin(bench.task("double", timeout=0.3))
    call.has_begun = True  # and nothing more is ever heard of it
    task = bench.results(1)[0]
    assert outcome(task)[1][0] == "Timeout"
    eventually(lambda: call.forced, what="the engine is told to end it")


# Time


def test_a_timeout_counts_from_the_beginning_of_the_call(bench: Bench) -> None:
    bench.engine.holds = True
    (call,) = bench.begin(bench.task("double", 4, timeout=0.1))
    time.sleep(0.3)  # longer than its timeout: it waits in the engine
    bench.pool.watch(30)
    assert not bench.pool.results
    bench.engine.begin(call)
    assert outcome(bench.results(1)[0]) == ("completed", 8)


def test_a_call_that_does_not_begin_is_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "QUEUE_SECONDS", 0.1)
    bench.engine.holds = True
    (call,) = bench.begin(bench.task("double"))
    assert outcome(bench.results(1)[0]) == ("released", None)
    eventually(lambda: call.forced, what="the engine is told to drop it")


def test_a_bundle_with_a_task_that_hangs_is_split(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaths(call: Submitted) -> BaseException | None:
        while '"item":3' in call.text and not call.forced:
            time.sleep(0.01)
        return Died() if call.forced else None

    bench.engine.deaths = deaths
    monkeypatch.setattr("pgflow_yaml.worker.engines.flight._SPARE_SECONDS", 0.1)
    tasks = [bench.task("double", n, index=n, seconds=0.001, timeout=0.5) for n in range(5)]
    bench.pool.submit(tasks)
    ends = {task.index: outcome(task) for task in bench.results(5)}
    assert ends.pop(3)[1][0] == "Timeout"
    assert ends == {n: ("completed", 2 * n) for n in range(5) if n != 3}


def test_no_more_calls_are_submitted_than_can_begin(bench: Bench) -> None:
    bench.pool.submit([bench.task("wait", n, index=n) for n in range(9)])
    eventually(lambda: len(bench.engine.calls) == 2, what="both slots are used")
    assert bench.pool.queued() == 7
    assert len(bench.engine.calls) == 2
    bench.engine.slots = 3
    bench.bridge._measure_at = 0.0  # as if five seconds had gone
    eventually(lambda: len(bench.engine.calls) == 3, what="the engine has grown")
    facts = {"concurrency": 3, "resources": {"cpus": 1000}, "engine": "fake:engine"}
    assert bench.pool.facts() == facts


# Cancels


def test_a_cancelled_call_that_has_not_begun_is_taken_back(bench: Bench) -> None:
    bench.engine.holds = True
    task = bench.task("double")
    bench.begin(task)
    bench.pool.cancel(task)
    assert outcome(bench.results(1)[0]) == ("released", None)


def test_a_cancelled_call_that_runs_is_ended_by_force(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgflow_yaml.worker.executors.pool.DEAF_SECONDS", 0.1)
    task = bench.task("wait")
    (call,) = bench.begin(task)
    bench.pool.cancel(task)
    assert outcome(bench.results(1)[0]) == ("released", None)
    eventually(lambda: call.forced, what="the engine is told to end it")


def test_the_death_of_a_cancelled_call_is_no_crash(
    benches: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = benches(FakeEngine(stops=False))
    task = bench.task("wait")
    (call,) = bench.begin(task)
    bench.pool.cancel(task)
    bench.engine.lose(call)
    assert outcome(bench.results(1)[0]) == ("released", None)


def test_a_slot_that_no_force_frees_stays_counted(benches: Callable[..., Bench]) -> None:
    bench = benches(FakeEngine(slots=2, stops=False))
    task = bench.task("wait", timeout=0.2)
    bench.begin(task)
    assert outcome(bench.results(1)[0])[1][0] == "Timeout"
    eventually(lambda: bench.pool.slots() == 1, what="its slot is counted as busy")
    assert bench.pool.deaf_steps() == []
    node._handlers().get("jobs.wait").function.__globals__["gate"].set()
    eventually(lambda: bench.pool.slots() == 2, what="the handler has returned")


# An engine that goes away


def test_an_engine_that_goes_away_gives_back_what_has_not_begun_once(
    benches: Callable[..., Bench],
) -> None:
    bench = benches(FakeEngine(slots=1), lease=600)
    running = bench.task("wait")
    bench.begin(running)
    bench.pool.submit([bench.task("double", n, index=n) for n in range(5)])
    bench.engine.go_away()
    assert [outcome(task) for task in bench.results(5)] == [("released", None)] * 5
    assert bench.pool.slots() == 0
    assert bench.pool.facts()["engine_away"]
    assert running.outcome is None


def test_what_runs_in_an_engine_that_went_away_crashes_after_a_lease(
    benches: Callable[..., Bench],
) -> None:
    bench = benches(lease=0.3)
    bench.begin(bench.task("wait"))
    bench.engine.go_away()
    kind, error = outcome(bench.results(1)[0])
    assert (kind, error) == ("crashed", ("Crashed", "the engine fake:engine went away"))


def test_an_engine_that_comes_back_is_used_again(benches: Callable[..., Bench]) -> None:
    bench = benches(lease=600)
    bench.begin(bench.task("wait"))
    lost = bench.engine.calls[0]
    bench.engine.go_away()
    eventually(lambda: bench.pool.slots() == 0, what="the loss is noticed")
    bench.engine.come_back()
    kind, error = outcome(bench.results(1)[0])
    assert (kind, error[1]) == ("crashed", "the engine fake:engine was restarted")
    assert bench.pool.slots() == 2
    assert bench.engine.opened == 2
    assert outcome(bench.result("double", 8, index=1)) == ("completed", 16)
    assert lost.future.done()


def test_an_engine_is_told_about_once_and_tried_ever_more_seldom(
    benches: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    bench = benches()
    bench.engine.go_away()
    bench.bridge._measure_at = 0.0
    eventually(lambda: bench.bridge._pause >= 2, what="two tries have failed")
    told = [record for record in caplog.records if "is away" in record.message]
    assert len(told) == 1


# Outputs that outlive their worker


def test_an_output_that_an_earlier_attempt_has_left_is_not_computed_again(
    benches: Callable[..., Bench], tmp_path: Path
) -> None:
    results, file = tmp_path / "results", tmp_path / "calls"
    for attempt in (1, 2):
        bench = benches(results=str(results))
        task = bench.task("count", str(file))
        task.fence = attempt
        bench.pool.submit([task])
        assert outcome(bench.results(1)[0]) == ("completed", "done")
    assert file.read_text() == "x"


def test_a_torn_output_is_computed_again(benches: Callable[..., Bench], tmp_path: Path) -> None:
    results, file = tmp_path / "results", tmp_path / "calls"
    benches(results=str(results)).result("count", str(file))
    (kept,) = results.rglob("*.json")
    kept.write_text('{"output": "')
    assert outcome(benches(results=str(results)).result("count", str(file))) == (
        "completed",
        "done",
    )
    assert file.read_text() == "xx"
