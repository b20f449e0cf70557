"""A claim beside what ends: nothing is handed out that this very turn has finished."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.engine.driver import RETRY, Engine, a_child, a_step, done, failed, literal

if TYPE_CHECKING:
    from tests.engine.driver import Task


def _fifth_worker_dies(engine: Engine, item: int) -> None:
    """Five workers die with this item of the flow's map; the other items rest unclaimed."""
    for minute in range(5):
        engine.now(f"2100-01-01 12:{minute:02}:00Z")
        silent = Engine(engine.db)
        for task in silent.claim("flow", lease="10 s", options={"crashed": "first"}):
            if task["index"] != item:
                silent.report(failed(task, "released"))
    engine.now("2100-01-01 12:10:00Z")


@pytest.mark.parametrize("item", [0, 1])
@pytest.mark.parametrize(("policy", "status"), [("fail", "cancelled"), ("skip", "skipped")])
def test_a_last_crash_leaves_nothing_of_its_step_to_the_same_claim(
    engine: Engine, item: int, policy: str, status: str
) -> None:
    """I1: the claim has read the siblings' messages too; they end, before or behind the culprit."""
    engine.deploy("flow", {"a": a_step(map=literal([1, 2]), when_exhausted=policy)})
    run = engine.start("flow")
    _fifth_worker_dies(engine, item)

    tasks = engine.claim("flow")

    assert tasks == []
    assert (
        engine.one("select status from pgflow.step_tasks where task_index = %s", 1 - item) == status
    )
    assert engine.status(run) == ("failed" if policy == "fail" else "completed")


def test_two_last_crashes_in_one_claim_end_their_run_once(engine: Engine) -> None:
    """The second finds its run over, and stays cancelled."""
    engine.deploy("flow", {"a": a_step(map=literal([1, 2]))})
    run = engine.start("flow")
    for minute in range(8):  # both at first, twice, then one at a time
        engine.now(f"2100-01-01 12:{minute:02}:00Z")
        Engine(engine.db).claim("flow", lease="10 s")
    engine.now("2100-01-01 12:10:00Z")

    tasks = engine.claim("flow")

    assert tasks == []
    assert engine.snapshot(run)["run"]["error"]["type"] == "Crashed"
    assert engine.statuses(run) == {"a": "failed"}


@pytest.mark.parametrize("first", ["late", "right"])
def test_a_late_report_takes_nothing_from_the_right_one_in_its_batch(
    engine: Engine, first: str
) -> None:
    """A worker whose abandoned thread ends in the same tick as the attempt that replaced it."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    (abandoned,) = engine.claim("flow")
    engine.report(failed(abandoned, "released"))
    (task,) = engine.claim("flow")
    reports: dict[str, Task] = {"late": done(abandoned, "late"), "right": done(task, "right")}

    order = sorted(reports, key=lambda name: name != first)
    verdicts = dict(zip(order, engine.report(*[reports[n] for n in order]), strict=True))

    assert verdicts == {"late": "lost", "right": "applied"}
    assert engine.snapshot(run)["run"]["output"] == {"a": "right"}


def test_word_of_an_older_child_changes_nothing(engine: Engine) -> None:
    """The step has gone on to its second child; the first one's end comes once more."""
    engine.deploy("child", {"work": a_step(retry={"max_attempts": 1})})
    engine.deploy(
        "parent", {"sub": a_child("child", retry=RETRY | {"max_attempts": 2, "base_delay": 0})}
    )
    run = engine.start("parent")
    engine.claim("parent")
    engine.report(failed(engine.claim("child")[0], "fatal"))
    engine.claim("parent")
    engine.claim("parent")
    (again,) = engine.claim("child")
    first = engine.one("select run_id from pgflow.runs where status = 'failed'")
    note = {"kind": "child", "run_id": run, "step_slug": "sub", "task_index": 0}

    _into_the_clock(engine, note | {"child": str(first)})
    engine.claim("parent")

    assert engine.statuses(run) == {"sub": "waiting"}
    engine.report(done(again, 2))
    engine.claim("parent")
    assert engine.snapshot(run)["run"]["output"] == {"sub": {"work": 2}}


def test_no_child_starts_for_a_task_that_has_ended(engine: Engine) -> None:
    """The cancel passed by a message that a turn had just taken; it comes again."""
    engine.deploy("child", {"work": a_step()})
    engine.deploy("parent", {"sub": a_child("child")})
    run = engine.start("parent")
    message = engine.one("select jsonb_build_array(msg_id, message) from pgmq.q_pgflow__timers")
    engine.call("cancel_run", run)

    _into_the_clock(engine, message[1], message[0])
    engine.claim("parent")

    assert engine.one("select count(*) from pgflow.runs") == 1
    assert engine.one("select count(*) from pgmq.q_pgflow__timers") == 0


def test_a_deadline_after_the_end_changes_nothing(engine: Engine) -> None:
    """The run was completed in time; the clock's message is read all the same."""
    engine.deploy("flow", {"a": a_step()}, timeout=60_000)
    run = engine.start("flow")
    engine.work("flow")

    _into_the_clock(engine, {"kind": "deadline", "run_id": run})
    engine.claim("flow")

    assert engine.status(run) == "completed"


def test_a_deadline_while_finally_runs_changes_nothing(engine: Engine) -> None:
    """What the run has come to is known already."""
    engine.deploy("flow", {"a": a_step()}, timeout=60_000, finally_={"audit": a_step()})
    run = engine.start("flow")
    engine.report(failed(engine.claim("flow")[0], "fatal"))

    _into_the_clock(engine, {"kind": "deadline", "run_id": run})
    (audit,) = engine.claim("flow")
    engine.report(done(audit))

    assert engine.snapshot(run)["run"]["error"]["type"] == "Broken"


def _into_the_clock(engine: Engine, message: dict[str, object], number: int = 1000) -> None:
    engine.db.execute(
        "insert into pgmq.q_pgflow__timers (msg_id, vt, message) overriding system value"
        " values (%s, now(), %s)",
        [number, json.dumps(message)],
    )


@pytest.mark.parametrize("single", [True, False])
def test_what_is_given_back_returns_to_its_old_place(engine: Engine, *, single: bool) -> None:
    """Before the runs that were started meanwhile, whatever kind of step it is."""
    step = a_step() if single else a_step(map=literal([1, 2]))
    engine.deploy("flow", {"a": step})
    engine.now("2100-01-01 12:00:00Z")
    first = engine.start("flow")
    early = engine.claim("flow")
    engine.now("2100-01-01 12:00:01Z")
    engine.start("flow")
    engine.now("2100-01-01 12:00:02Z")

    engine.report(*(failed(task, "released") for task in early))

    again = engine.claim("flow", quantity=len(early))
    assert [task["run"] for task in again] == [first] * len(early)


def test_a_lease_that_ended_before_the_server_started_is_over_at_once(
    engine: Engine, other: Engine
) -> None:
    """An embedded server starts anew with each command: it must not always be the first lease."""
    engine.deploy("flow", {"a": a_step()})
    engine.start("flow")
    (lost,) = engine.claim("flow", lease="1 ms")
    engine.db.execute(
        "update pgflow.step_tasks set lease = pg_postmaster_start_time() - '1 s'::interval"
    )

    (taken,) = other.claim("flow", lease="1 day")

    assert (lost["attempt"], taken["attempt"]) == (1, 2)
    assert other.report(done(taken)) == ["applied"]
