"""What runs next: order, joins, maps, outputs."""

from __future__ import annotations

import time
from hashlib import sha512
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.driver import a_step, done, path
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.engine.driver import Engine, Task

DIAMOND = {"a": a_step(), "b": a_step("a"), "c": a_step("a"), "d": a_step("b", "c")}


def test_a_diamond_runs_in_order_and_gives_the_output_of_its_leaf(engine: Engine) -> None:
    """The next tasks come back in the reply of the turn that made them possible."""
    engine.deploy("diamond", DIAMOND)
    run = engine.start("diamond")

    (a,) = engine.claim("diamond")
    middle = engine.turn(done(a, 1), queue="diamond")["tasks"]
    left = engine.turn(done(middle[0], 2), queue="diamond")["tasks"]
    (d,) = engine.turn(done(middle[1], 3), queue="diamond")["tasks"]
    engine.report(done(d, 4))

    assert [task["step"] for task in middle] == ["b", "c"]
    assert left == []
    assert engine.snapshot(run)["run"]["output"] == {"d": 4}


def test_a_dependent_step_receives_the_outputs_of_its_dependencies(engine: Engine) -> None:
    """Its context holds {dependency: output}; a root step's holds the run input."""
    engine.deploy("diamond", DIAMOND, input={"n": {"type": "integer"}})
    run = engine.start("diamond", {"n": 7})

    contexts: dict[str, Any] = {}
    results: list[Task] = []
    while True:
        reply = engine.turn(*results, queue="diamond")
        if not reply["tasks"]:
            break
        contexts |= reply["contexts"]
        results = [done(task, task["step"].upper()) for task in reply["tasks"]]

    assert contexts[f"{run}/a"]["run_input"] == {"n": 7}
    assert contexts[f"{run}/d"]["args"] == {"b": "B", "c": "C"}


@pytest.mark.parametrize("width", [0, 1, 3, 1500, 10_000])
def test_a_map_gives_the_results_of_all_items_in_their_order(engine: Engine, width: int) -> None:
    """I6, from nothing to a map that is made and sent in windows."""
    engine.deploy(
        "fan",
        {
            "list": a_step(),
            "each": a_step("list", map=path("steps.list.output")),
            "end": a_step("each"),
        },
    )
    run = engine.start("fan")

    ran = engine.work(
        "fan", lambda task: list(range(width)) if task["step"] == "list" else [task["item"]]
    )

    each = engine.snapshot(run)["steps"][1]
    assert len(ran) == width + 2
    assert each["output"] == [[item] for item in range(width)]
    assert engine.status(run) == "completed"


def test_a_wide_map_keeps_a_thousand_messages_live(engine: Engine) -> None:
    """A one-task run behind a map of 3,000 has its turn after the map's first window."""
    engine.deploy(
        "fan", {"each": a_step(map=path("input.items"))}, input={"items": {"type": "array"}}
    )
    engine.start("fan", {"items": list(range(3000))})
    late = engine.start("fan", {"items": ["late"]})

    seen, tasks = 0, engine.claim("fan")
    while late not in {task["run"] for task in tasks}:
        seen += len(tasks)
        assert engine.one("select count(*) from pgmq.q_fan") <= 1001
        tasks = engine.turn(*[done(task) for task in tasks], queue="fan")["tasks"]

    assert 900 <= seen <= 1100
    engine.report(*[done(task) for task in tasks])
    engine.work("fan")


def test_a_step_with_one_task_passes_the_window_of_a_wide_map(engine: Engine) -> None:
    """A thousand slow tasks that are sent already do not hold up a one-step run."""
    engine.deploy(
        "fan", {"each": a_step(map=path("input.items"))}, input={"items": {"type": "array"}}
    )
    engine.deploy("single", {"a": a_step(queue="fan")})
    engine.start("fan", {"items": list(range(3000))})
    late = engine.start("single")

    tasks = engine.claim("fan")

    assert late in {task["run"] for task in tasks}
    engine.turn(*[done(task) for task in tasks], queue="fan", quantity=0)
    engine.work("fan")


def test_a_map_waits_for_younger_single_steps_for_a_minute_only(engine: Engine) -> None:
    """However many runs are started, a map's tasks have their turn."""
    engine.deploy(
        "fan", {"each": a_step(map=path("input.items"))}, input={"items": {"type": "array"}}
    )
    engine.deploy("single", {"a": a_step(queue="fan")})
    engine.now("2026-11-25T12:00:00Z")
    wide = engine.start("fan", {"items": list(range(10))})
    engine.now("2026-11-25T12:01:01Z")
    for _ in range(5):
        engine.start("single")

    tasks = engine.claim("fan", quantity=10)

    assert {task["run"] for task in tasks} == {wide}
    engine.turn(*[done(task) for task in tasks], queue="fan", quantity=0)
    engine.work("fan")


def test_of_several_wide_maps_one_goes_on_in_a_turn(engine: Engine) -> None:
    """Making 5,000 tasks takes a tenth of a second: no turn makes them for all maps there are."""
    engine.deploy(
        "fan", {"each": a_step(map=path("input.items"))}, input={"items": {"type": "array"}}
    )
    runs = [engine.start("fan", {"items": list(range(5100))}) for _ in range(3)]

    engine.claim("fan", quantity=1)

    assert engine.one("select count(*) from pgflow.step_states where made = 5100") == 1
    for run in runs:
        engine.call("cancel_run", run)


def test_initial_tasks_gives_that_many_tasks_with_the_same_input(engine: Engine) -> None:
    """The index tells them apart; the output is the list of theirs."""
    engine.deploy("fixed", {"a": a_step(initial_tasks=5)})
    run = engine.start("fixed")

    engine.work("fixed", lambda task: task["index"])

    assert engine.snapshot(run)["steps"][0]["output"] == [0, 1, 2, 3, 4]


def test_a_map_over_something_else_than_a_list_fails_its_step(engine: Engine) -> None:
    """Not the run's other steps are to blame: the map says what it got."""
    engine.deploy("fan", {"list": a_step(), "each": a_step("list", map=path("steps.list.output"))})
    run = engine.start("fan")

    engine.work("fan", lambda _: {"not": "a list"})

    step = engine.snapshot(run)["steps"][1]
    assert step["error"]["type"] == "ExpressionError"
    assert "object" in step["error"]["message"]
    assert engine.status(run) == "failed"


def test_a_map_over_null_is_empty(engine: Engine) -> None:
    """No value is no items."""
    engine.deploy("fan", {"list": a_step(), "each": a_step("list", map=path("steps.list.output"))})
    run = engine.start("fan")

    engine.work("fan", lambda _: None)

    assert engine.snapshot(run)["run"]["output"] == {"each": []}


def test_a_flow_may_wait_before_a_step_begins(engine: Engine) -> None:
    """start_delay parks the message; the step counts as started meanwhile."""
    engine.deploy("slow", {"a": a_step(start_delay=90_000)})
    engine.now("2026-01-01 12:00:00Z")
    run = engine.start("slow")

    early = engine.claim("slow")
    engine.now("2026-01-01 12:01:31Z")
    late = engine.claim("slow")

    assert early == []
    assert [task["run"] for task in late] == [run]
    engine.report(done(late[0]))


def test_a_large_run_input_is_not_sent_with_every_task(engine: Engine) -> None:
    """A map over the input reads its items; the whole input comes only on demand."""
    engine.deploy(
        "fan", {"each": a_step(map=path("input.items"))}, input={"items": {"type": "array"}}
    )
    incompressible = [sha512(str(n).encode()).hexdigest() for n in range(300)]
    run = engine.start("fan", {"items": incompressible})

    reply = engine.turn(queue="fan")

    assert "run_input" not in reply["contexts"][f"{run}/each"]
    assert len(engine.call("run_input", run)["items"]) == 300
    engine.report(*[done(task) for task in reply["tasks"]])
    engine.work("fan")


def test_a_wide_map_costs_the_same_per_task_as_a_narrow_one(engine: Engine) -> None:
    """R-11: eight times the items cost 8^1.2 = 12 times the time at most, and a third for noise."""
    engine.deploy(
        "fan", {"each": a_step(map=path("input.items"))}, input={"items": {"type": "array"}}
    )

    def seconds(width: int) -> float:
        engine.start("fan", {"items": list(range(width))})
        began = time.perf_counter()
        engine.work("fan")
        return time.perf_counter() - began

    seconds(500)
    eventually(lambda: seconds(4000) < 16 * seconds(500), what="a time without noise")
