"""Limits of runs: they wait at the gate of their flow, and are let in, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engine.driver import a_step, done, failed, path

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def waits(engine: Engine, run: str) -> bool:
    """Whether a run has not begun."""
    return bool(engine.one("select waits_at is not null from pgflow.runs where run_id = %s", run))


def test_one_run_goes_on_at_once_and_the_next_begins_when_it_has_ended(engine: Engine) -> None:
    """A limit of 1 lets the oldest run in; the others have no step until it has ended."""
    engine.deploy("ship", {"a": a_step()}, concurrency={"limit": 1})
    runs = [engine.start("ship") for _ in range(3)]
    for nr, run in enumerate(runs):
        [task] = engine.claim("ship")
        assert task["run"] == run
        assert [waits(engine, later) for later in runs] == [i > nr for i in range(3)]
        assert engine.report(done(task)) == ["applied"]
    assert engine.claim("ship") == []
    assert engine.one("select count(*) from pgflow.slots") == 0


def test_tasks_of_a_limited_step_wait_over_all_runs(engine: Engine) -> None:
    """Two tasks of five runs at once; the oldest wait least."""
    engine.deploy("ship", {"a": a_step(concurrency={"limit": 2})})
    runs = [engine.start("ship") for _ in range(5)]
    order = []
    tasks = engine.claim("ship")
    while tasks:
        assert len(tasks) <= 2
        order += [task["run"] for task in tasks]
        tasks = engine.turn(*[done(task) for task in tasks], queue="ship")["tasks"]
    assert order == runs
    assert engine.one("select count(*) from pgflow.slots") == 0


def test_a_pause_between_attempts_holds_no_slot(engine: Engine) -> None:
    """A task that failed gives its place to the next; its own attempt waits in its old place."""
    engine.now("2026-01-01T00:00:00Z")
    step = a_step(concurrency={"limit": 1}, retry={"max_attempts": 2, "base_delay": 10_000})
    engine.deploy("ship", {"a": step})
    runs = [engine.start("ship") for _ in range(3)]
    [first] = engine.claim("ship")
    [second] = engine.turn(failed(first), queue="ship")["tasks"]
    assert [first["run"], second["run"]] == runs[:2]
    engine.now("2026-01-01T00:00:11Z")
    assert engine.claim("ship") == []  # the second has the only place
    [again] = engine.turn(done(second), queue="ship")["tasks"]
    assert (again["run"], again["attempt"]) == (runs[0], 2)
    [third] = engine.turn(done(again), queue="ship")["tasks"]
    assert engine.report(done(third)) == ["applied"]
    assert engine.one("select count(*) from pgflow.slots") == 0


def test_at_most_so_many_attempts_start_in_any_window(engine: Engine) -> None:
    """Two starts in ten seconds: the third follows when the first was seen ten seconds ago."""
    engine.now("2026-01-01T00:00:00Z")
    engine.deploy("ship", {"a": a_step(rate_limit={"limit": 2, "per": 10_000})})
    for _ in range(5):
        engine.start("ship")
    started = list[int]()
    for second in range(40):
        engine.now(f"2026-01-01T00:00:{second:02}Z")
        tasks = engine.claim("ship")
        started += [second] * len(tasks)
        engine.report(*[done(task) for task in tasks])
    assert len(started) == 5
    assert all(later - first >= 10 for first, later in zip(started, started[2:], strict=False))
    assert started[-1] <= 24


def test_a_task_with_two_limits_waits_at_one_after_the_other(engine: Engine) -> None:
    """A place of the concurrency is kept while the task waits for the rate."""
    engine.now("2026-01-01T00:00:00Z")
    limits = {"concurrency": {"limit": 2}, "rate_limit": {"limit": 1, "per": 10_000}}
    engine.deploy("ship", {"a": a_step(**limits)})
    for _ in range(3):
        engine.start("ship")
    [first] = engine.claim("ship")
    held = "select count(*) from pgflow.slots where held and gate = 'step:ship:a'"
    assert engine.one(held) == 2
    assert engine.turn(done(first), queue="ship")["tasks"] == []
    engine.now("2026-01-01T00:00:11Z")
    [second] = engine.claim("ship")
    engine.now("2026-01-01T00:00:12Z")
    assert engine.claim("ship") == []  # sees that the second has started
    engine.now("2026-01-01T00:00:23Z")
    [third] = engine.turn(done(second), queue="ship")["tasks"]
    assert engine.report(done(third)) == ["applied"]


def test_each_value_of_a_key_has_a_limit_of_its_own(engine: Engine) -> None:
    """One at a time for each customer; null is one of them, and 1 is not "1"."""
    limit = {"limit": 1, "key": path("input.c")}
    engine.deploy("ship", {"a": a_step(concurrency=limit)}, input={"c": {"default": None}})
    for c in ("a", "a", None, None, 1, 1.0, "1", "x" * 3000):
        engine.start("ship", {"c": c})
    assert len(engine.claim("ship")) == 5
    assert len(engine.claim("ship")) == 0


def test_items_of_a_map_are_limited_by_their_own_keys(engine: Engine) -> None:
    """The key of a map reads `item`: one task of each tenant at once."""
    step = a_step(map=path("input.items"), concurrency={"limit": 1, "key": path("item.t")})
    engine.deploy("ship", {"a": step}, input={"items": {}})
    run = engine.start("ship", {"items": [{"t": i % 2, "nr": i} for i in range(6)]})
    ran = []
    tasks = engine.claim("ship")
    while tasks:
        assert sorted(task["item"]["t"] for task in tasks) == [0, 1]
        ran += [task["index"] for task in tasks]
        tasks = engine.turn(*[done(task) for task in tasks], queue="ship")["tasks"]
    assert ran == [0, 1, 2, 3, 4, 5]
    assert engine.snapshot(run)["run"]["status"] == "completed"


def test_a_key_that_is_a_list_fails_what_it_limits(engine: Engine) -> None:
    """A run fails before it begins, a task without an attempt; both say why."""
    limit = {"limit": 1, "key": path("input.c")}
    engine.deploy("runs", {"a": a_step()}, input={"c": {}}, concurrency=limit)
    engine.deploy("tasks", {"a": a_step(concurrency=limit)}, input={"c": {}})
    for flow in ("runs", "tasks"):
        run = engine.start(flow, {"c": [1]})
        assert engine.claim(flow) == []
        error = engine.snapshot(run)["run"]["error"]
        assert error["type"] == "ExpressionError"
        assert error["message"] == (
            "concurrency.key: the key must be a text, a number or a boolean, not an array"
        )
