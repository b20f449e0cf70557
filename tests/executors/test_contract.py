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
from pgflow_yaml.worker.calls import HandlerUnavailable
from pgflow_yaml.worker.engines import node, traffic
from pgflow_yaml.worker.task import RunContext, StepCall, Task
from tests.executors.engine_bench import Bench, outcome
from tests.executors.fake_engine import Died, Drained, FakeEngine
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.executors.fake_engine import Submitted


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
