"""What a turn tells its worker, if it asks: the runs that ended in it, the steps that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.engine.driver import a_child, a_step, a_wait, done, failed

if TYPE_CHECKING:
    from tests.engine.driver import Engine, Task

ALL = {"ended": "all"}


def turn(engine: Engine, *results: Task, ended: str = "all", **more: Any) -> list[str] | None:
    """The ends in a reply: `flow.step status kind`, `flow status kind`."""
    reply = engine.turn(*results, queue="none", options={"ended": ended}, **more)
    return shown(reply)


def shown(reply: dict[str, Any]) -> list[str] | None:
    if "ended" not in reply:
        return None
    return [
        " ".join(filter(None, [
            end["flow"] + ("." + end["step"] if "step" in end else ""),
            end["status"], end.get("error", {}).get("type"),
        ])) for end in reply["ended"]
    ]  # fmt: skip


def test_a_completed_run_is_told_to_a_worker_that_asks_for_all(engine: Engine) -> None:
    """One that asks for failures alone hears nothing, nor does one that does not ask."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")})
    for _ in range(3):
        engine.start("flow")
    assert turn(engine, *map(done, engine.claim("flow"))) is None
    one, two, three = engine.claim("flow")

    heard = [turn(engine, done(one)), turn(engine, done(two), ended="failed")]

    assert heard == [["flow completed"], None]
    assert "ended" not in engine.turn(done(three), queue="none")


def test_a_failure_names_the_step_and_the_run_with_their_errors(engine: Engine) -> None:
    """Not an attempt that is not the last; in the order in which they ended."""
    engine.deploy("flow", {"a": a_step(retry={"max_attempts": 2, "base_delay": 0})})
    run = engine.start("flow")
    (first,) = engine.claim("flow")
    assert turn(engine, failed(first), ended="failed") is None
    (second,) = engine.claim("flow")

    reply = engine.turn(failed(second), queue="none", options={"ended": "failed"})

    error = {"type": "Broken", "message": "attempt 2 broke", "attempts": 2}
    assert reply["ended"] == [
        {"run": run, "flow": "flow", "step": "a", "status": "failed", "error": error},
        {
            "run": run,
            "flow": "flow",
            "status": "failed",
            "error": error | {"step": "a", "index": 0},
        },
    ]


def test_a_handled_failure_is_a_failed_step_in_a_completed_run(engine: Engine) -> None:
    """What goes through `finally`, `output` or a catch ends in another place, and is told too."""
    engine.deploy(
        "flow",
        {"a": a_step(), "b": a_step() | {"depends_on": {"a": "failure"}}},
        finally_={"z": a_step()},
    )
    engine.start("flow")

    heard = []
    for kind in ("fatal", None, None):
        (task,) = engine.claim("flow")
        heard.append(turn(engine, failed(task, kind) if kind else done(task)))

    assert heard == [["flow.a failed Broken"], None, ["flow completed"]]


def test_a_step_that_fails_before_its_first_task_is_told(engine: Engine) -> None:
    """By its condition, in the turn that made it ready; with a catch the run goes on."""
    unmet = {"if_": {"ast": ["lit", False], "paths": []}, "when_unmet": "fail"}
    engine.deploy("short", {"a": a_step(), "b": a_step("a", **unmet)})
    engine.deploy(
        "long",
        {
            "a": a_step(),
            "b": a_step("a", **unmet),
            "c": a_step() | {"depends_on": {"b": "failure"}},
        },
    )
    heard = []
    for name in ("short", "long"):
        engine.start(name)
        heard.append(turn(engine, *map(done, engine.claim(name))))

    assert heard == [
        ["short.b failed ConditionUnmet", "short failed ConditionUnmet"],
        ["long.b failed ConditionUnmet"],
    ]


def test_what_timers_end_is_told_by_wind_as_well(engine: Engine) -> None:
    """A timeout, a wait, the failure of a child, a cancelled child."""
    engine.deploy("child", {"nap": a_wait(wait={"event": "go", "timeout": 1000})})
    engine.deploy("parent", {"sub": a_child("child")})
    engine.deploy("late", {"nap": a_wait(wait={"event": "go"})}, timeout=1000)
    engine.now("2036-01-01 12:00:00Z")
    engine.start("parent")
    engine.start("late")
    assert shown(engine.call("wind", engine.worker)) is None
    engine.now("2036-01-01 12:00:02Z")

    heard = shown(engine.call("wind", engine.worker)) or []
    heard += turn(engine, quantity=1) or []

    assert sorted(heard) == [
        "child failed WaitTimeout",
        "child.nap failed WaitTimeout",
        "late failed RunTimeout",
        "parent failed ChildFailed",
        "parent.sub failed ChildFailed",
    ]


def test_a_crash_that_is_the_last_is_told_to_who_finds_it(engine: Engine, other: Engine) -> None:
    """The claim ends the step."""
    engine.deploy("flow", {"a": a_step(retry={"max_attempts": 1})})
    engine.start("flow")
    heard: list[str] = []
    for minute in range(8):
        worker = (engine, other)[minute % 2]
        worker.now(f"2036-01-01 12:{minute:02}:00Z")
        reply = worker.turn(queue="flow", options=ALL)
        heard += shown(reply) or []

    assert heard == ["flow.a failed Crashed", "flow failed Crashed"]


def test_many_ends_are_told_in_one_reply(engine: Engine) -> None:
    """Each once, in several turns of one transaction too."""
    engine.deploy("flow", {"a": a_step()})
    for _ in range(40):
        engine.start("flow")

    with engine.db.transaction():
        tasks = engine.claim("flow")
        first = turn(engine, *map(done, tasks[:30]))
        second = turn(engine, *map(done, tasks[30:]))

    assert (first, second) == (["flow completed"] * 30, ["flow completed"] * 10)


def test_a_cancel_by_a_client_is_not_an_end_of_the_turn_after_it(engine: Engine) -> None:
    """What ends outside of a turn is in nobody's log."""
    engine.deploy("flow", {"a": a_step()})
    with engine.db.transaction():
        engine.call("cancel_run", engine.start("flow"))

        assert turn(engine) is None
