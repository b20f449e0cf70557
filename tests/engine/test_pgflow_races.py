"""Two sessions at this door: one holds its locks while the other waits, or passes by."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import Engine, a_step
from tests.engine.pgflow_door import Door, a_map, deps
from tests.fixtures.waiting import eventually, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def second(database: str, door: Door) -> Iterator[Door]:
    """A second client, on a connection of its own."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield Door(connection)


def _during(first: Callable[[], object], then: Callable[[], Any], door: Door, second: Door) -> Any:
    """Do `first` in an open transaction, let the second session run into it, commit; its result."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(then())
        except psycopg.Error as error:
            found.append(error)

    thread = threading.Thread(target=run)
    with door.db.transaction():
        first()
        thread.start()
        until_blocked(door.db, second.db.info.backend_pid)
    thread.join(20)
    (result,) = found
    return result


def test_the_last_two_tasks_of_a_map_end_at_the_same_time(door: Door, second: Door) -> None:
    """The second waits for the run, sees the first's output and ends the step: nothing is lost."""
    door.flow("flow", each=a_map(), last=deps("each"))
    run = door.start("flow", [1, 2])
    one, two = door.claim("flow")

    row = _during(lambda: door.complete(one, "a"), lambda: second.complete(two, "b"), door, second)

    assert row["status"] == "completed"
    assert door.step(run, "each")["output"] == ["a", "b"]
    assert door.step(run, "last")["status"] == "started"


def test_two_parents_of_one_step_end_at_the_same_time(door: Door, second: Door) -> None:
    """It starts once, with one message."""
    door.flow("flow", a={}, b={}, join=deps("a", "b"))
    run = door.start("flow")
    a, b = door.claim("flow")

    _during(lambda: door.complete(a, 1), lambda: second.complete(b, 2), door, second)

    assert len(door.tasks(run, "join")) == 1
    assert [task["input"] for task in door.claim("flow")] == [{"a": 1, "b": 2}]


def test_two_reports_of_one_task_count_once(door: Door, second: Door) -> None:
    """The first to hold the run decides; the other returns the row as it then is."""
    door.flow("flow", a={"max_attempts": 1})
    run = door.start("flow")
    (task,) = door.claim("flow")

    row = _during(lambda: door.complete(task, 1), lambda: second.fail(task), door, second)

    assert (row["status"], row["output"]) == ("completed", 1)
    assert (door.run(run)["status"], door.counts("flow")) == ("completed", (0, 1))


def test_one_message_claimed_by_two_gives_one_task(door: Door, second: Door) -> None:
    """The second waits for the row and finds it started."""
    door.flow("flow", a={})
    run = door.start("flow")
    ids = door.column("select msg_id from pgmq.q_flow")
    claim = "select count(*) from pgflow.start_tasks('flow', %s, %s)"

    taken = _during(
        lambda: door.one(claim, ids, door.worker),
        lambda: second.one(claim, ids, second.worker),
        door,
        second,
    )

    (task,) = door.tasks(run, "a")
    assert (taken, task["attempts_count"], str(task["last_worker_id"])) == (0, 1, door.worker)


def test_a_claim_that_meets_the_end_of_its_run_gives_nothing(door: Door, second: Door) -> None:
    """The task is cancelled while the claim waits for it."""
    door.flow("flow", a={"max_attempts": 1}, b={})
    door.start("flow")
    (task,) = door.claim("flow", 1)
    ids = door.column("select msg_id from pgmq.q_flow order by 1")
    claim = "select count(*) from pgflow.start_tasks('flow', %s, null)"

    taken = _during(lambda: door.fail(task), lambda: second.one(claim, ids), door, second)

    assert (taken, door.counts("flow")) == (0, (0, 2))


def test_a_report_without_attempt_never_hits_a_claim_of_our_worker(
    engine: Engine, door: Door, second: Door
) -> None:
    """The claim locks the task but not the run: the report waits for it, and finds a lease."""
    engine.deploy("ours", {"a": a_step()})
    run = engine.start("ours")
    claimed: list[Any] = []

    row = _during(
        lambda: claimed.extend(engine.claim("ours")),
        lambda: second.complete({"run_id": run, "step_slug": "a", "task_index": 0}, 1),
        door,
        second,
    )

    assert (row["status"], len(claimed)) == ("started", 1)
    assert engine.statuses(run) == {"a": "started"}
    engine.report({**_key(claimed[0]), "outcome": "completed", "output": 2})


def _key(task: dict[str, Any]) -> dict[str, Any]:
    return {key: task[key] for key in ("run", "step", "index", "attempt")}


def test_one_run_id_started_twice_gives_one_run(door: Door, second: Door) -> None:
    """The second waits for the first and is a primary key violation."""
    door.flow("flow", a={})
    start = (
        "select run_id from pgflow.start_flow('flow', '{}', '00000000-0000-0000-0000-000000000001')"
    )

    refused = _during(lambda: door.one(start), lambda: second.one(start), door, second)

    assert isinstance(refused, psycopg.errors.UniqueViolation)
    assert door.counts("flow") == (1, 0)


def test_one_shape_compiled_by_two_workers_is_made_once(door: Door, second: Door) -> None:
    """The second waits for the slug's lock and verifies."""
    shape = json.dumps({"steps": [{"slug": "a"}]})
    compile_ = "select pgflow.ensure_flow_compiled('flow', %s) ->> 'status'"
    stored = "select pgflow._get_flow_shape('flow')"

    status = _during(
        lambda: door.one(compile_, shape), lambda: second.one(compile_, shape), door, second
    )

    assert status == "mismatch"  # the bare shape has no pattern objects, the stored one has
    assert second.one(compile_, json.dumps(door.one(stored))) == "verified"
    assert door.column("select step_index from pgflow.steps") == [0]


def test_two_sessions_adding_steps_number_them_apart(door: Door, second: Door) -> None:
    """R-12: the flow's row is the lock."""
    door.flow("flow")
    add = "select step_index from pgflow.add_step('flow', %s)"

    index = _during(lambda: door.one(add, "a"), lambda: second.one(add, "b"), door, second)

    assert index == 1


def test_a_deletion_waits_for_calls_at_work_and_takes_what_they_made(
    door: Door, second: Door
) -> None:
    """No row of the next step is left behind, and no foreign key is in the way."""
    door.flow("flow", a={}, b=deps("a"))
    door.start("flow")
    (task,) = door.claim("flow")
    delete = "select pgflow.delete_flow_and_data('flow')"

    result = _during(lambda: door.complete(task, 1), lambda: second.one(delete), door, second)

    assert not isinstance(result, psycopg.Error)
    assert door.one("select count(*) from pgflow.step_tasks") == 0
    assert door.one("select count(*) from pgflow.flows") == 0


def test_a_deletion_lets_a_call_end_that_holds_its_run(door: Door, second: Door) -> None:
    """It waits for the run before it locks the flow, which the call's new rows refer to."""
    door.flow("flow", a={}, b=deps("a"))
    run = door.start("flow")
    (task,) = door.claim("flow")
    delete = "select pgflow.delete_flow_and_data('flow')"
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(second.one(delete)))

    with door.db.transaction():
        door.one("select 1 from pgflow.runs where run_id = %s for no key update", run)
        thread.start()
        until_blocked(door.db, second.db.info.backend_pid)
        door.complete(task, 1)
    thread.join(20)

    assert len(found) == 1
    assert door.one("select count(*) from pgflow.runs") == 0


def test_a_deletion_lets_a_claim_end_whichever_way_it_goes(door: Door, second: Door) -> None:
    """From the message to the task, or from the task to the message: no deadlock."""
    delete = "select pgflow.delete_flow_and_data('flow')"
    claim = "select count(*) from pgflow.start_tasks('flow', array[1], null)"
    read = "select count(*) from pgmq.read('flow', 5, 1)"
    task = "select 1 from pgflow.step_tasks for update"
    waits = "select wait_event_type in ('Lock', 'Timeout') from pg_stat_activity where pid = %s"
    for first, last in ((read, claim), (task, read)):
        door.flow("flow", a={})
        door.start("flow")
        found: list[object] = []
        thread = threading.Thread(target=lambda f=found: f.append(second.one(delete)))
        with door.db.transaction():
            door.one(first)
            thread.start()
            eventually(
                lambda: door.one(waits, second.db.info.backend_pid), what="the deletion waits"
            )
            assert door.one(last) == 1
        thread.join(20)
        assert len(found) == 1
        assert door.one("select count(*) from pgflow.step_tasks") == 0


@pytest.mark.parametrize("steps", [{}, {"a": {}}], ids=["no steps", "one step"])
def test_a_deletion_waits_for_a_start_and_takes_its_run_too(
    door: Door, second: Door, steps: dict[str, Any]
) -> None:
    """It is not seen before it is there, so the flow's lock waits for it, whatever it sends."""
    door.flow("flow", **steps)
    delete = "select pgflow.delete_flow_and_data('flow')"

    result = _during(lambda: door.start("flow"), lambda: second.one(delete), door, second)

    assert not isinstance(result, psycopg.Error)
    assert door.one("select count(*) from pgflow.runs") == 0


def test_a_start_that_meets_a_deletion_is_refused(door: Door, second: Door) -> None:
    """It waits, and then the flow is not there any more."""
    door.flow("flow", a={})
    delete = "select pgflow.delete_flow_and_data('flow')"

    refused = _during(lambda: door.one(delete), lambda: second.start("flow"), door, second)

    assert isinstance(refused, psycopg.errors.ForeignKeyViolation)
