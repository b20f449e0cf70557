"""Events of runs and steps, through a stand-in for realtime.send that keeps what it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from tests.engine.driver import Engine, a_step, failed
from tests.engine.pgflow_door import a_map, deps

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door, Row

WANTS_A = {"required_input_pattern": {"a": 1}}
STAND_IN = """create schema realtime;
create table realtime.messages (
  id int generated always as identity, topic text, event text, private boolean, payload jsonb);
create function realtime.send(payload jsonb, event text, topic text, private boolean default true)
returns void language sql as $$
  insert into realtime.messages (topic, event, private, payload)
  values (topic, event, private, payload) $$"""


@pytest.fixture
def listening(door: Door) -> Door:
    """A client of a database whose owner has registered realtime.send."""
    door.db.execute(STAND_IN)
    door.db.execute("select pgflow.register_realtime()")
    return door


def _events(door: Door, run: str) -> list[str]:
    """The names of the run's events, in order; each is private to nobody."""
    query = """select event from realtime.messages
      where topic = 'pgflow:run:' || %s and not private order by id"""
    return door.column(query, run)


def _payload(door: Door, event: str) -> dict[str, Any]:
    query = "select payload from realtime.messages where event = %s"
    (payload,) = door.column(query, event)
    return dict(payload)


def test_a_run_tells_each_transition_in_order(listening: Door) -> None:
    """A parent's completion before its dependents' start; nothing for tasks."""
    listening.flow("flow", b={}, a={}, last=deps("a", "b"), each=a_map("b"))
    run = listening.start("flow", {"x": 1})
    tasks = {task["step_slug"]: task for task in listening.claim("flow")}
    listening.complete(tasks["b"], [1, 2])
    listening.complete(tasks["a"], 7)
    for task in listening.claim("flow"):
        listening.complete(task, None)

    assert _events(listening, run) == [
        "run:started",
        "step:a:started",
        "step:b:started",
        "step:b:completed",
        "step:each:started",
        "step:a:completed",
        "step:last:started",
        "step:each:completed",
        "step:last:completed",
        "run:completed",
    ]
    stamps = {"started_at", "completed_at"}
    started, completed = _payload(listening, "run:started"), _payload(listening, "run:completed")
    assert {k: v for k, v in started.items() if k not in stamps} == {
        "event_type": "run:started",
        "run_id": run,
        "flow_slug": "flow",
        "status": "started",
        "input": {"x": 1},
        "remaining_steps": 4,
    }
    assert {k: v for k, v in completed.items() if k not in stamps} == {
        "event_type": "run:completed",
        "run_id": run,
        "flow_slug": "flow",
        "status": "completed",
        "output": {"last": None, "each": [None, None]},
    }
    row = listening.run(run)
    query = "select %s::timestamptz = %s"
    assert listening.one(query, started["started_at"], row["started_at"])
    assert listening.one(query, completed["completed_at"], row["completed_at"])


def test_steps_tell_their_counters_and_outputs(listening: Door) -> None:
    """Without the flow's slug."""
    listening.flow("flow", each=a_map())
    run = listening.start("flow", [1, 2])
    listening.work("flow", "x")

    common = {"run_id": run, "step_slug": "each"}
    started, completed = (
        _payload(listening, f"step:each:{status}") for status in ("started", "completed")
    )
    assert started.pop("started_at") is not None
    assert started == common | {
        "event_type": "step:started",
        "status": "started",
        "remaining_tasks": 2,
        "remaining_deps": 0,
    }
    assert completed.pop("completed_at") is not None
    assert completed == common | {
        "event_type": "step:completed",
        "status": "completed",
        "output": ["x", "x"],
    }


def test_a_step_without_tasks_tells_its_completion_only(listening: Door) -> None:
    """With its start and counters at 0; wave by wave, before anything starts."""
    listening.flow("flow", m1=a_map(), m2=a_map("m1"), z=deps("m2"))
    run = listening.start("flow", [])

    assert _events(listening, run) == [
        "run:started",
        "step:m1:completed",
        "step:m2:completed",
        "step:z:started",
    ]
    payload = _payload(listening, "step:m1:completed")
    assert payload["started_at"] == payload["completed_at"]
    assert (payload["remaining_tasks"], payload["remaining_deps"], payload["output"]) == (0, 0, [])


def test_a_retry_tells_nothing_and_a_final_failure_the_step_then_the_run(listening: Door) -> None:
    """Both with the task's message."""
    listening.flow("flow", a={"max_attempts": 2}, b={})
    run = listening.start("flow")
    listening.fail(listening.claim("flow", 1)[0], "first")
    assert len(_events(listening, run)) == 3
    listening.db.execute("update pgmq.q_flow set vt = now()")
    task = next(task for task in listening.claim("flow") if task["step_slug"] == "a")
    listening.fail(task, "no")

    assert _events(listening, run)[3:] == ["step:a:failed", "run:failed"]
    step, whole = _payload(listening, "step:a:failed"), _payload(listening, "run:failed")
    assert step.pop("failed_at") == whole.pop("failed_at") is not None
    failed: Row = {"run_id": run, "status": "failed", "error_message": "no"}
    assert step == failed | {"event_type": "step:failed", "step_slug": "a"}
    assert whole == failed | {"event_type": "run:failed", "flow_slug": "flow"}


def test_a_run_that_is_failed_from_outside_tells_its_failure(listening: Door) -> None:
    """No step is told of: none has changed."""
    listening.flow("flow", a={})
    run = listening.start("flow")
    error = '{"type": "Broken", "message": "no use"}'

    assert listening.one("select pgflow.fail_run(%s, %s)", run, error) is True

    assert _events(listening, run)[2:] == ["run:failed"]
    assert _payload(listening, "run:failed")["error_message"] == "no use"


def test_a_type_violation_tells_the_run_then_the_step(listening: Door) -> None:
    """The run's event has no message, the step's names the map."""
    listening.flow("flow", a={}, each=a_map("a"))
    run = listening.start("flow")
    listening.complete(listening.claim("flow")[0], {"x": 1})

    assert _events(listening, run)[2:] == ["run:failed", "step:a:failed"]
    assert "error_message" not in _payload(listening, "run:failed")
    message = _payload(listening, "step:a:failed")["error_message"]
    assert message.startswith("[TYPE_VIOLATION] Map step each")


def test_an_unmet_condition_that_must_hold_tells_the_step_then_the_run(listening: Door) -> None:
    """After the run's start, and nothing else."""
    listening.flow("flow", a={**WANTS_A, "when_unmet": "fail"}, b={})
    run = listening.start("flow")

    assert _events(listening, run) == ["run:started", "step:a:failed", "run:failed"]
    assert _payload(listening, "run:failed")["error_message"] == "Condition not met"


def test_skips_are_told_in_the_order_of_dependencies(listening: Door) -> None:
    """With the flow's slug where a condition or a cascade skips."""
    cut = {**WANTS_A, "when_unmet": "skip-cascade"}
    listening.flow("flow", z=cut, y=deps("z"), a=deps("y"), plain=WANTS_A, b=deps("plain"))
    run = listening.start("flow")

    assert _events(listening, run) == [
        "run:started",
        "step:plain:skipped",
        "step:z:skipped",
        "step:y:skipped",
        "step:a:skipped",
        "step:b:started",
    ]
    first, second = _payload(listening, "step:z:skipped"), _payload(listening, "step:y:skipped")
    assert first.pop("skipped_at") is not None
    assert first == {
        "event_type": "step:skipped",
        "run_id": run,
        "flow_slug": "flow",
        "step_slug": "z",
        "status": "skipped",
        "skip_reason": "condition_unmet",
    }
    assert second["skip_reason"] == "dependency_skipped"


@pytest.mark.parametrize(
    ("policy", "then"),
    [
        ("skip", ["step:a:skipped", "step:b:started"]),
        ("skip-cascade", ["step:a:skipped", "step:b:skipped", "run:completed"]),
    ],
)
def test_an_exhausted_step_tells_its_skip_with_the_message(
    listening: Door, policy: str, then: list[str]
) -> None:
    """No failure of a step or run is told."""
    listening.flow("flow", a={"max_attempts": 1, "when_exhausted": policy}, b=deps("a"))
    run = listening.start("flow")
    listening.fail(listening.claim("flow")[0], "no")

    assert _events(listening, run)[2:] == then
    payload = _payload(listening, "step:a:skipped")
    assert (payload["skip_reason"], payload["error_message"]) == ("handler_failed", "no")


def test_nothing_is_told_twice_by_calls_that_change_nothing(listening: Door) -> None:
    """Late reports, and the steps of advancing called by hand."""
    listening.flow("flow", a={})
    run = listening.start("flow")
    (task,) = listening.claim("flow")
    listening.complete(task, 1)
    before = _events(listening, run)

    listening.complete(task, 1)
    listening.fail(task)
    listening.one("select pgflow.maybe_complete_run(%s)", run)
    listening.one("select pgflow.start_ready_steps(%s)", run)

    assert _events(listening, run) == before


def test_a_database_without_realtime_and_a_deployed_flow_tell_nothing(door: Door) -> None:
    """The function may appear later: it is looked up when sending."""
    door.flow("flow", a={})
    run = door.start("flow")
    door.db.execute(STAND_IN)
    door.one("select pgflow.register_realtime()")
    engine = Engine(door.db)
    engine.deploy("ours", {"a": a_step()})
    engine.start("ours")
    engine.work("ours")
    engine.start("ours")
    engine.report(failed(engine.claim("ours")[0], "fatal"))

    door.work("flow", 1)

    assert _events(door, run) == ["step:a:completed", "run:completed"]
    assert door.one("select count(*) from realtime.messages") == 2


def test_a_planted_function_is_not_called(door: Door) -> None:
    """Not before the owner registers it, and not when it is another role's afterwards (S-14)."""
    with pytest.raises(psycopg.Error, match="there is no function") as refused:
        door.one("select pgflow.register_realtime()")
    assert refused.value.sqlstate == "PF001"

    door.db.execute(STAND_IN)
    door.flow("flow", a={})
    door.start("flow", {})
    assert door.one("select count(*) from realtime.messages") == 0

    door.one("select pgflow.register_realtime()")
    door.start("flow", {})
    assert door.one("select count(*) from realtime.messages") == 2

    role = f"planter_{uuid4().hex[:8]}"
    door.db.execute(f"create role {role}".encode())
    door.db.execute(f"alter function realtime.send owner to {role}".encode())
    door.start("flow", {})
    sent = door.one("select count(*) from realtime.messages")
    door.db.execute(f"drop owned by {role}; drop role {role}".encode())
    assert sent == 2
