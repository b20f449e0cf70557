"""Runs that are being stopped, with `finally` to come: nothing else of theirs begins any more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.engine.driver import a_step, done, failed

if TYPE_CHECKING:
    from tests.engine.driver import Engine

NOON = "2036-01-01 12:00:00Z"
AUDIT = {"audit": a_step()}


def test_a_map_that_is_still_being_made_gets_no_more_tasks(engine: Engine) -> None:
    """Neither the clock nor the sweep goes on with it; `finally` waits for the started one."""
    engine.deploy("flow", {"wide": a_step(initial_tasks=20_000)}, finally_=AUDIT)
    run = engine.start("flow")
    (task,) = engine.claim("flow", quantity=1)

    engine.call("cancel_run", run)
    engine.call("sweep")
    more = engine.claim("flow", quantity=2)
    engine.report(done(task))

    assert more == []
    assert [task["step"] for task in engine.claim("flow")] == ["audit"]


def test_the_clock_makes_no_more_tasks_for_a_message_it_had_taken(engine: Engine) -> None:
    """Who stops a run cannot take a message that a turn holds: it comes again."""
    engine.deploy("flow", {"wide": a_step(initial_tasks=20_000)}, finally_=AUDIT)
    run = engine.start("flow")
    (task,) = engine.claim("flow", quantity=1)
    note = engine.one("select message from pgmq.q_pgflow__timers")

    engine.call("cancel_run", run)
    engine.db.execute(
        "insert into pgmq.q_pgflow__timers (vt, message) select now(), %s::jsonb",
        [json.dumps(note)],
    )
    more = engine.claim("flow", quantity=2)
    engine.report(done(task))

    assert more == []
    assert engine.work("flow") == ["audit"]
    assert engine.status(run) == "cancelled"


def test_reports_of_both_doors_in_one_turn_end_what_was_stopped(engine: Engine) -> None:
    """A batch may hold runs of create_flow beside a run that is being stopped."""
    engine.deploy("flow", {"a": a_step()}, finally_=AUDIT)
    engine.db.execute("select pgflow.create_flow('old'), pgflow.add_step('old', 's')")
    engine.db.execute("select pgflow.start_flow('old', '{}')")
    run = engine.start("flow")
    (a,) = engine.claim("flow")
    (s,) = engine.claim("old")
    engine.call("cancel_run", run)

    assert engine.report(failed(a), done(s)) == ["applied", "applied"]

    assert [task["step"] for task in engine.claim("flow")] == ["audit"]


def test_a_dead_workers_task_is_cancelled_by_a_worker_without_its_handler(
    engine: Engine, other: Engine
) -> None:
    """It would be cancelled by any: nobody has to call it."""
    engine.now(NOON)
    engine.deploy("flow", {"a": a_step(handler="app.gone")}, finally_=AUDIT)
    run = engine.start("flow")
    engine.claim("flow")
    engine.call("cancel_run", run)

    other.now("2036-01-01 12:01:30Z")
    other.claim("flow", refused=["app.gone"])

    assert [task["step"] for task in other.claim("flow", refused=["app.gone"])] == ["audit"]


def test_a_task_that_a_client_of_pgflow_let_go_is_cancelled(engine: Engine) -> None:
    """requeue_stalled_tasks puts nothing back into the queue of a run that is being stopped."""
    engine.now(NOON)
    slug = engine.deploy("flow", {"a": a_step()}, finally_=AUDIT)["flow_slug"]
    run = engine.start("flow")
    message = engine.one("select message_id from pgflow.step_tasks")
    engine.db.execute(
        "select pgflow.start_tasks(%s, array[%s::bigint], %s)", [slug, message, engine.worker]
    )
    engine.call("cancel_run", run)

    engine.now("2036-01-01 12:05:00Z")
    engine.call("requeue_stalled_tasks")
    claimed = [*engine.claim("flow"), *engine.claim("flow")]

    assert [task["step"] for task in claimed] == ["audit"]
