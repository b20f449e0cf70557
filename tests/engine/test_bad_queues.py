"""Queues that somebody has dropped or filled by hand: nothing is lost, nothing stands still."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.database.store import Refused, Store
from pgflow_yaml.errors import SchemaMismatch
from tests.engine.driver import a_step, a_wait, done

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def drop(engine: Engine, queue: str) -> None:
    """Drop a queue with all that it holds."""
    engine.one("select pgmq.drop_queue(%s)", queue)


def test_a_dropped_queue_comes_back_with_its_messages(engine: Engine) -> None:
    """The next start makes it again, and the sweep sends what it had held."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")})
    old = engine.start("flow")
    drop(engine, "flow")
    assert engine.claim("flow") == []

    new = engine.start("flow")
    assert [task["run"] for task in engine.claim("flow")] == [new]
    assert engine.call("sweep") == 1
    (task,) = engine.claim("flow")
    assert task["run"] == old
    engine.report(done(task))
    assert [(task["run"], task["step"]) for task in engine.claim("flow")] == [(old, "b")]
    for run in (old, new):
        engine.call("cancel_run", run)


def test_a_queue_dropped_under_a_running_task_stops_nobody(engine: Engine) -> None:
    """Its heartbeat and its result count; the task after it has a queue again."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")})
    run = engine.start("flow")
    (task,) = engine.claim("flow")
    drop(engine, "flow")

    assert engine.heartbeat(task) == {"lost": [], "stop": []}
    assert engine.report(done(task)) == ["applied"]
    (task,) = engine.claim("flow")
    assert task["step"] == "b"
    engine.report(done(task))
    assert engine.snapshot(run)["run"]["status"] == "completed"


def test_dropped_functions_of_a_queue_come_back(engine: Engine) -> None:
    """Each is made again by the call that misses it; the queue of a deleted flow leaves none."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")})
    functions = (
        "select array_agg(proname::text order by 1) from pg_proc where proname ~ '^_q_.*_flow$'"
    )
    made = engine.one(functions)
    for name in made:
        engine.db.execute(f"drop function pgflow.{name}".encode())

    run = engine.start("flow")
    for _ in ("a", "b"):
        (task,) = engine.claim("flow")
        assert engine.report(done(task)) == ["applied"]

    assert made == ["_q_drop_flow", "_q_send_flow", "_q_take_flow"]
    assert engine.one(functions) == made
    assert engine.snapshot(run)["run"]["status"] == "completed"


def test_dropped_timers_are_sent_again(engine: Engine) -> None:
    """The end of a wait comes all the same."""
    engine.deploy("flow", {"a": a_wait(wait={"for": 60_000})})
    engine.now("2036-01-01 12:00:00Z")
    run = engine.start("flow")
    drop(engine, "pgflow__timers")
    engine.turn(queue="flow")
    assert engine.call("sweep") == 1

    engine.now("2036-01-01 12:01:01Z")
    engine.turn(queue="flow")

    assert engine.snapshot(run)["run"]["status"] == "completed"


@pytest.mark.parametrize(
    "message",
    ["null", '"text"', "[]", "[1, [2]]", "7", "{}", '{"run_id": 7}', json.dumps("x" * 1_000_000)],
    ids=lambda message: message[:20],
)
def test_what_somebody_puts_into_a_queue_harms_nobody(engine: Engine, message: str) -> None:
    """In the queue of tasks it is dropped; as a timer it is put off and named."""
    engine.deploy("flow", {"a": a_step()})
    for queue in ("flow", "pgflow__timers"):
        query = f"insert into pgmq.q_{queue} (vt, message) values ('2000-01-01', %s::jsonb)"
        engine.db.execute(query.encode(), [message])
        query = f"insert into pgmq.q_{queue} (vt, message) values ('2000-01-01', null)"
        engine.db.execute(query.encode())
    run = engine.start("flow")

    reply = engine.turn(queue="flow", quantity=10)

    assert [task["run"] for task in reply["tasks"]] == [run]
    assert len(reply["timer_errors"]) == 2
    assert engine.one("select count(*) from pgmq.q_flow") == 1
    engine.db.execute("delete from pgmq.q_pgflow__timers")
    engine.report(done(reply["tasks"][0]))


def test_a_row_that_cannot_be_claimed_fails_its_run_once(engine: Engine) -> None:
    """The turn is refused; the one that asks for what is readable gives the next task."""
    engine.deploy("flow", {"a": a_step()})
    engine.deploy("bad", {"a": a_step(queue="flow")})
    bad, good = engine.start("bad"), engine.start("flow")
    engine.db.execute("""update pgflow.steps set spec = '{"timeout_ms": "soon"}'
        where flow_slug like 'bad%'""")
    arguments = [engine.worker, "[]", ["flow"], 5, "30 s", []]
    with pytest.raises(Exception, match="invalid input syntax"):
        engine.call("turn", *arguments)

    reply = engine.call("turn", *arguments, '{"readable": true}')

    assert [task["run"] for task in reply["tasks"]] == [good]
    (row,) = reply["unreadable"]
    assert (row["run"], row["step"], row["index"], row["failed"]) == (bad, "a", 0, True)
    error = engine.snapshot(bad)["run"]["error"]
    assert error["type"] == "RowUnreadable"
    assert 'invalid input syntax for type bigint: "soon"' in error["message"]
    engine.report(done(reply["tasks"][0]))


def test_only_what_is_missing_in_our_schema_is_a_mismatch(database: str) -> None:
    """A dropped queue, or a table that a trigger of others needs, is no reason to migrate."""
    with Store(database) as store:
        with pytest.raises(SchemaMismatch, match="run `pgflow-yaml migrate`"):
            store.ask("select 1 from pgflow.nothing", [])
        for query in ("select 1 from pgmq.q_pgflow__x", "select 1 from x", "select nothing()"):
            with pytest.raises(Refused):
                store.ask(query, [])
