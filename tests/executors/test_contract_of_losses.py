"""What becomes of tasks when they are cancelled, and when their engine goes away (§4.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.worker.engines import node
from tests.executors.engine_bench import Bench, outcome
from tests.executors.fake_engine import FakeEngine
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


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
