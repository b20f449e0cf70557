"""Limits of steps: their tasks wait before they are sent, and rates count their starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engine.driver import Task, a_step, done, failed, literal, path

if TYPE_CHECKING:
    from tests.engine.driver import Engine


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


def test_an_attempt_that_fails_after_its_window_asks_for_a_start_again(engine: Engine) -> None:
    """Its slot is over by then, and somebody else may have had the place."""
    engine.now("2026-01-01T00:00:00Z")
    step = a_step(rate_limit={"limit": 1, "per": 10_000}, retry={"base_delay": 1000})
    engine.deploy("ship", {"a": step})
    runs = [engine.start("ship") for _ in range(2)]
    [first] = engine.claim("ship")
    engine.now("2026-01-01T00:00:01Z")
    assert engine.claim("ship") == []
    engine.now("2026-01-01T00:00:12Z")
    [second] = engine.claim("ship")
    assert [first["run"], second["run"]] == runs
    engine.now("2026-01-01T00:00:13Z")
    assert engine.turn(failed(first), queue="ship")["tasks"] == []
    engine.now("2026-01-01T00:00:15Z")
    assert engine.turn(done(second), queue="ship")["tasks"] == []
    engine.now("2026-01-01T00:00:27Z")
    [again] = engine.claim("ship")
    assert (again["run"], again["attempt"]) == (runs[0], 2)
    assert engine.report(done(again)) == ["applied"]


def test_an_attempt_that_fails_has_started_all_the_same(engine: Engine) -> None:
    """Its next attempt is another start, which the window does not allow yet."""
    engine.now("2026-01-01T00:00:00Z")
    step = a_step(rate_limit={"limit": 1, "per": 10_000}, retry={"base_delay": 0})
    engine.deploy("ship", {"a": step})
    engine.start("ship")
    [task] = engine.claim("ship")
    engine.now("2026-01-01T00:00:01Z")
    assert engine.turn(failed(task), queue="ship")["tasks"] == []
    engine.now("2026-01-01T00:00:13Z")
    assert [task["attempt"] for task in engine.claim("ship")] == [2]


def test_a_task_that_was_not_begun_in_time_keeps_its_start(engine: Engine) -> None:
    """No attempt has started, so it may go at once, and nobody else in its place."""
    engine.now("2026-01-01T00:00:00Z")
    engine.deploy("ship", {"a": a_step(rate_limit={"limit": 1, "per": 10_000})})
    runs = [engine.start("ship") for _ in range(2)]
    [task] = engine.claim("ship")
    engine.now("2026-01-01T00:00:01Z")
    assert engine.claim("ship") == []  # its start is counted now
    late = failed(task, "released", error={"type": "NotBegun", "message": "late"})
    [again] = engine.turn(late, queue="ship")["tasks"]
    assert (again["run"], again["attempt"]) == (runs[0], 2)
    engine.now("2026-01-01T00:00:02Z")
    assert engine.turn(done(again), queue="ship")["tasks"] == []
    engine.now("2026-01-01T00:00:13Z")
    assert [task["run"] for task in engine.claim("ship")] == runs[1:]


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


def test_the_slot_of_a_dead_worker_goes_with_the_task(engine: Engine, other: Engine) -> None:
    """Whoever takes the task over has its slot, too; nobody else is let in."""
    engine.now("2026-01-01T00:00:00Z")
    other.now("2026-01-01T00:01:00Z")
    engine.deploy("ship", {"a": a_step(concurrency={"limit": 1})})
    runs = [engine.start("ship") for _ in range(2)]
    [task] = engine.claim("ship")
    [again] = other.claim("ship")
    assert (again["run"], again["attempt"]) == (task["run"], task["attempt"] + 1)
    assert engine.report(done(task)) == ["lost"]
    [second] = other.turn(done(again), queue="ship")["tasks"]
    assert second["run"] == runs[1]


def test_a_step_that_runs_a_flow_holds_its_slot_until_the_child_has_ended(engine: Engine) -> None:
    """One child at once, over the items of a map."""
    engine.deploy("child", {"c": a_step()})
    step = a_step(flow="child", map=path("input.n"), concurrency={"limit": 1}, with_=literal({}))
    del step["handler"]
    engine.deploy("ship", {"a": step}, input={"n": {}})
    run = engine.start("ship", {"n": [1, 2, 3]})
    for _ in range(3):
        tasks = list[Task]()
        while not tasks:
            tasks = engine.claim("child")
        assert len(tasks) == 1
        live = "select count(*) from pgflow.runs where flow_name = 'child' and status = 'started'"
        assert engine.one(live) == 1
        engine.report(done(tasks[0]))
    engine.work_on("child")
    assert engine.status(run) == "completed"


def test_points_of_priority_are_minutes_of_age(engine: Engine) -> None:
    """A flow with two points passes what is one minute older, not what is three minutes older."""
    for name, points in (("low", 0), ("high", 2)):
        engine.deploy(name, {"a": a_step(queue="shared")}, priority=points)
    order = []
    for minute, name in ((0, "low"), (2, "low"), (3, "high"), (3, "low")):
        engine.now(f"2026-01-01T00:0{minute}:00Z")
        order.append(engine.start(name))
    engine.now("2026-01-01T00:05:00Z")
    ran = [engine.claim("shared", quantity=1)[0]["run"] for _ in range(4)]
    assert ran == [order[0], order[2], order[1], order[3]]
