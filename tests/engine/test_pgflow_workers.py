"""Workers, stalled tasks, and pgflow's calls on a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from tests.engine.driver import Engine, a_step, done

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door

REQUEUE = "select pgflow.requeue_stalled_tasks()"


def _age(door: Door, seconds: int) -> None:
    door.db.execute(
        """update pgflow.step_tasks set queued_at = queued_at - %s * interval '1 s',
          started_at = started_at - %s * interval '1 s'""",
        [seconds, seconds],
    )


def test_a_stalled_task_goes_back_into_its_queue_three_times(by_hand: Door) -> None:
    """Then its message is archived and it stays started; no attempt is used up by the stall."""
    by_hand.flow("flow", a={"max_attempts": 1})
    run = by_hand.start("flow")

    for round_ in (1, 2, 3):
        (task,) = by_hand.claim("flow")
        assert by_hand.one(REQUEUE) == 0
        _age(by_hand, 91)
        assert by_hand.one(REQUEUE) == 1
        (row,) = by_hand.tasks(run, "a")
        assert (row["status"], row["started_at"], row["last_worker_id"]) == ("queued", None, None)
        assert (row["requeued_count"], row["attempts_count"]) == (round_, round_)
        assert (row["last_requeued_at"] is not None, by_hand.counts("flow")) == (True, (1, 0))
        assert row["message_id"] == task["msg_id"]
    by_hand.claim("flow")
    _age(by_hand, 91)

    assert by_hand.one(REQUEUE) == 0
    (row,) = by_hand.tasks(run, "a")
    assert by_hand.one(REQUEUE) == 0
    assert by_hand.tasks(run, "a") == [row]
    assert (row["status"], row["requeued_count"]) == ("started", 3)
    assert row["permanently_stalled_at"] is not None
    assert (by_hand.run(run)["status"], by_hand.counts("flow")) == ("started", (0, 1))


@pytest.mark.parametrize(("age", "requeued"), [(44, 0), (46, 1)])
def test_a_stall_is_judged_by_the_steps_own_timeout(door: Door, age: int, requeued: int) -> None:
    """And thirty seconds; the flow's timeout of sixty does not matter then."""
    door.flow("flow", a={"timeout": 15})
    door.start("flow")
    door.claim("flow")
    _age(door, age)

    assert door.one(REQUEUE) == requeued


def test_what_is_not_a_stalled_task_is_left_alone(door: Door, engine: Engine) -> None:
    """A lease is ours to judge; a task of a run that has ended cannot be revived."""
    engine.deploy("ours", {"a": a_step()})
    engine.start("ours")
    (task,) = engine.claim("ours")
    door.flow("flow", a={}, b={"max_attempts": 1})
    door.start("flow")
    tasks = {claimed["step_slug"]: claimed for claimed in door.claim("flow")}
    door.fail(tasks["b"])
    _age(door, 1_000_000)

    assert door.one(REQUEUE) == 0
    assert engine.report(done(task)) == ["applied"]


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("runs", "status = 'failed', failed_at = now()"),
        ("step_states", "status = 'failed', failed_at = now()"),
    ],
)
def test_what_has_ended_by_hand_is_not_revived(by_hand: Door, table: str, values: str) -> None:
    """Its task stays as somebody left it."""
    by_hand.flow("flow", a={})
    by_hand.start("flow")
    by_hand.claim("flow")
    by_hand.db.execute(f"update pgflow.{table} set {values}".encode())
    _age(by_hand, 1_000)

    assert by_hand.one(REQUEUE) == 0


def test_a_stalled_task_that_somebody_holds_is_skipped(door: Door, other: Engine) -> None:
    """Recovery never waits."""
    door.flow("flow", a={})
    door.start("flow")
    door.claim("flow")
    _age(door, 1_000)
    with other.db.transaction():
        other.db.execute("select from pgflow.step_tasks for update")
        assert door.one(REQUEUE) == 0

    assert door.one(REQUEUE) == 1


def test_a_task_of_a_deployed_flow_may_stall_at_this_door_too(door: Door, engine: Engine) -> None:
    """Claimed by start_tasks it has no lease, so only this recovery takes it back."""
    slug = engine.deploy("ours", {"a": a_step()})["flow_slug"]
    run = engine.start("ours")
    claim = """select count(*) from pgflow.start_tasks(
      %s, array(select msg_id from pgmq.read('ours', 0, 5)), %s)"""
    assert door.one(claim, slug, door.worker) == 1
    door.db.execute("update pgmq.q_ours set vt = now()")
    assert engine.claim("ours") == []
    _age(door, 1_000)

    assert door.one(REQUEUE) == 1
    assert len(engine.work("ours")) == 1
    assert engine.status(run) == "completed"


def test_visibility_moves_by_each_messages_own_offset(door: Door) -> None:
    """From now; rows come back as they are; the number of reads stays."""
    door.one("select pgflow.set_clock('2100-01-01 12:00:00Z')")
    door.one("select pgflow.ensure_workflow_queue('plain')")
    ids = door.column("select pgmq.send_batch('plain', array['{\"n\": 1}', '{\"n\": 2}']::jsonb[])")

    rows = door.rows("select * from pgflow.set_vt_batch('plain', %s, array[10, 100])", [*ids])

    found = door.rows("select msg_id, read_ct, enqueued_at, vt, message from pgmq.q_plain")
    assert sorted(rows, key=lambda row: int(row["msg_id"])) == [
        row | {"headers": None} for row in found
    ]
    away = "select extract(epoch from vt - pgflow.clock())::int from pgmq.q_plain"
    assert door.column(f"{away} order by msg_id") == [10, 100]


def test_a_batch_of_offsets_must_fit(door: Door) -> None:
    """Nulls and nothing move nothing; unequal lengths and an unknown queue are errors."""
    door.one("select pgflow.ensure_workflow_queue('plain')")
    for ids, offsets in ((None, None), ([], []), (None, [1]), ([1], None)):
        query = "select count(*) from pgflow.set_vt_batch('plain', %s::bigint[], %s::int[])"
        assert door.one(query, ids, offsets) == 0

    with pytest.raises(psycopg.errors.RaiseException) as refused:
        door.one("select pgflow.set_vt_batch('plain', array[1, 2], array[1])")
    assert (
        refused.value.diag.message_primary == "msg_ids length (2) must equal vt_offsets length (1)"
    )
    with pytest.raises(psycopg.errors.UndefinedTable):
        door.one("select pgflow.set_vt_batch('nope', array[1], array[1])")


def test_polling_for_tasks_says_that_it_is_gone(door: Door) -> None:
    """A notice, and no row even where there is work."""
    door.flow("flow", a={})
    door.start("flow")
    notices: list[str] = []
    door.db.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))

    assert door.rows("select * from pgflow.poll_for_tasks('flow', 1, 1)") == []
    assert [notice for notice in notices if "deprecated" in notice] == notices != []


def test_reading_with_poll_waits_for_a_message(door: Door) -> None:
    """And hides what it reads; an empty queue is read for as long as asked."""
    door.flow("flow", a={})
    assert door.rows("select * from pgflow.read_with_poll('flow', 30, 5, 0, 10)") == []
    door.start("flow")

    (row,) = door.rows("select * from pgflow.read_with_poll('flow', vt => 30, qty => 5)")

    assert (row["read_ct"], row["message"]["step_slug"]) == (1, "a")
    assert door.claim("flow") == []


def test_a_queue_is_made_once(door: Door) -> None:
    """A second call leaves its messages alone."""
    door.one("select pgflow.ensure_workflow_queue('plain')")
    door.one("select pgmq.send('plain', '{}')")
    door.one("select pgflow.ensure_workflow_queue('plain')")

    assert door.one("select count(*) from pgmq.q_plain") == 1


def test_a_workers_function_is_remembered_and_stamped_again(door: Door) -> None:
    """The clock's time, not the transaction's; no worker is made."""
    workers = door.one("select count(*) from pgflow.workers")
    with door.db.transaction():
        for _ in range(2):
            door.one("select pgflow.track_worker_function('f')")
            (row,) = door.rows("select *, updated_at > now() as later from pgflow.worker_functions")
            assert (row["function_name"], row["enabled"], row["later"]) == ("f", True, True)

    door.one("select pgflow.track_worker_function('f')")

    stamped = "select updated_at > %s from pgflow.worker_functions"
    assert door.one(stamped, row["updated_at"]) is True
    assert door.one("select count(*) from pgflow.workers") == workers


def test_a_stopped_worker_is_stamped(door: Door) -> None:
    """One that nobody knows is no error."""
    door.one("select pgflow.mark_worker_stopped(%s)", door.worker)
    door.one("select pgflow.mark_worker_stopped(%s)", str(uuid4()))

    stopped = "select stopped_at is not null from pgflow.workers where worker_id = %s"
    assert door.one(stopped, door.worker) is True
