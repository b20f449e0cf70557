"""start_tasks and complete_task: what each changes, and what it leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from tests.engine.driver import Engine, a_step, literal
from tests.engine.pgflow_door import a_map, deps

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door


def test_a_claim_hands_out_each_kind_of_input(door: Door) -> None:
    """Run input for roots only; outputs by name; elements unwrapped, JSON null among them."""
    steps = {"root": {}, "numbers": {}, "each": a_map("numbers"), "again": a_map("each")}
    door.flow("flow", **steps, both=deps("root", "numbers"))
    run = door.start("flow", {"x": 1})

    first = {task["step_slug"]: task for task in door.claim("flow")}
    for slug in ("root", "numbers"):
        assert (first[slug]["input"], first[slug]["flow_input"]) == ({}, {"x": 1})
    door.complete(first["root"], None)
    door.complete(first["numbers"], [None, [1], {"k": 2}])
    second = door.claim("flow")

    single = next(task for task in second if task["step_slug"] == "both")
    assert single["input"] == {"root": None, "numbers": [None, [1], {"k": 2}]}
    items = [(t["task_index"], t["input"], t["flow_input"]) for t in second if t != single]
    assert items == [(0, None, None), (1, [1], None), (2, {"k": 2}, None)]
    for task in second:
        door.complete(task, task["task_index"])
    assert [task["input"] for task in door.claim("flow")] == [0, 1, 2]
    door.work("flow")
    door.one("update pgmq.q_flow set vt = now() returning 1")
    assert door.step(run, "again")["initial_tasks"] == 3


def test_a_claim_counts_stamps_and_hides_for_the_steps_timeout(door: Door) -> None:
    """Two seconds beyond the step's own timeout, or the flow's; read or not read before."""
    door.one("select pgflow.set_clock('2100-01-01 12:00:00Z')")
    door.flow("flow", own={"timeout": 7}, flows={})
    run = door.start("flow")
    ids = door.column("select message_id from pgflow.step_tasks order by step_slug desc")

    claimed = door.rows("select * from pgflow.start_tasks('flow', %s, %s)", ids, door.worker)

    assert {task["msg_id"] for task in claimed} == set(ids)
    hidden = door.rows(
        """select message ->> 'step_slug' as step,
          extract(epoch from vt - pgflow.clock())::int as seconds from pgmq.q_flow"""
    )
    assert {row["step"]: row["seconds"] for row in hidden} == {"own": 9, "flows": 62}
    (task,) = door.tasks(run, "own")
    assert (task["status"], task["attempts_count"]) == ("started", 1)
    assert str(task["last_worker_id"]) == door.worker
    assert task["started_at"] is not None


def test_a_claim_leaves_out_what_is_not_its_to_take(door: Door) -> None:
    """Null, nothing, unknown ids, another flow's, claimed ones; an unknown worker is refused."""
    door.flow("flow", a={})
    door.flow("other", a={})
    door.start("flow")
    door.start("other")
    (message,) = door.column("select msg_id from pgmq.q_flow")
    claim = "select count(*) from pgflow.start_tasks(%s, %s, %s)"

    for ids in (None, [], [999]):
        assert door.one(claim, "flow", ids, None) == 0
    assert door.one(claim, "nope", [message], None) == 0
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="last_worker_id"):
        door.one(claim, "flow", [message], str(uuid4()))
    assert door.one(claim, "flow", [message, message], None) == 1
    assert door.one(claim, "flow", [message], door.worker) == 0
    counted = "select attempts_count from pgflow.step_tasks order by flow_slug"
    assert door.column(counted) == [1, 0]


def test_a_claim_takes_the_queues_name_in_any_spelling(door: Door) -> None:
    """Later callers of pgflow give it, in lower case; another queue's name claims nothing."""
    door.flow("Mixed", a={}, b={})
    door.start("Mixed")
    first, second = door.column("select msg_id from pgmq.q_mixed order by 1")
    claim = "select count(*) from pgflow.start_tasks('Mixed', %s, %s, %s)"

    assert door.one(claim, [first], door.worker, "other") == 0
    assert door.one(claim, [first], door.worker, "mixed") == 1
    named = "select count(*) from pgflow.start_tasks('Mixed', %s, null, queue_name => 'Mixed')"
    assert door.one(named, [second]) == 1


def test_reading_claiming_and_completing_may_be_one_statement(by_hand: Door) -> None:
    """With the insert of the worker as well: each sees what the earlier ones did."""
    by_hand.flow("flow", a={}, b=deps("a"))
    run = by_hand.start("flow")

    status = by_hand.one(
        """with worker as (
          insert into pgflow.workers (worker_id, queue_name, function_name, last_heartbeat_at)
          values (gen_random_uuid(), 'flow', 'f', now())
          on conflict (worker_id) do update set last_heartbeat_at = now() returning worker_id
        ), ids as (
          select array_agg(msg_id) as ids from pgflow.read_with_poll('flow', 5, 1)
        ), claimed as materialized (
          select s.* from ids, lateral pgflow.start_tasks('flow', ids.ids,
            (select worker_id from worker)) s
        )
        select d.status from claimed c,
          lateral pgflow.complete_task(c.run_id, c.step_slug, c.task_index, '1') d"""
    )

    assert status == "completed"
    assert by_hand.statuses(run) == {"a": "completed", "b": "started"}


def test_callers_wrap_these_functions_in_their_own(by_hand: Door) -> None:
    """In SQL functions of the same row types, one as the argument of another, into variables."""
    by_hand.flow("flow", a={"max_attempts": 2})
    by_hand.db.execute(
        """create function public.claim_next(slug text) returns setof pgflow.step_task_record
        language sql as $$
          select s.* from pgmq.read_with_poll(slug, 1, 1, 1, 50) m,
            lateral pgflow.start_tasks(slug, array[m.msg_id], null) s $$;
        create function public.poll_and_fail(slug text) returns setof pgflow.step_tasks
        language sql as $$
          select f.* from public.claim_next(slug) c,
            lateral pgflow.fail_task(c.run_id, c.step_slug, c.task_index, slug || ' broke') f $$;
        create function public.as_variable(run uuid) returns text language plpgsql as $$
          declare t pgflow.step_tasks; c pgflow.step_task_record; r pgflow.runs;
          begin
            select * into t from pgflow.step_tasks where run_id = run;
            select * into r from pgflow.runs where run_id = run;
            select * into c from pgflow.start_tasks(t.flow_slug, array[t.message_id], null);
            return t.status || ', ' || r.status || ', ' || (c.flow_input ->> 'x');
          end $$"""
    )
    run = by_hand.start("flow", {"x": 1})

    (row,) = by_hand.rows("select * from public.poll_and_fail('flow')")

    assert (row["status"], row["error_message"]) == ("queued", "flow broke")
    assert by_hand.one("select public.as_variable(%s)", run) == "queued, started, 1"
    completed = """select (pgflow.complete_task(s.run_id, s.step_slug, 0,
      to_jsonb(s.attempts_count))).output from pgflow.step_tasks s"""
    assert by_hand.one(completed) == 2


def test_a_claim_of_a_deployed_flow_gives_what_its_worker_would_get(
    door: Door, engine: Engine
) -> None:
    """Elements of a map by its expression; the run's input where there are only so many tasks."""
    steps = {"each": a_step(map=literal(["x", None])), "so_many": a_step(initial_tasks=2)}
    fields = {"n": {"type": "integer"}}
    slug = engine.deploy("ours", steps, input=fields)["flow_slug"]
    engine.start("ours", {"n": 1})
    claimed = door.rows(
        """select * from pgflow.start_tasks(%s, array(
          select msg_id from pgmq.read('ours', 0, 9)), %s) order by step_slug, task_index""",
        slug,
        door.worker,
    )

    assert [(task["input"], task["flow_input"]) for task in claimed] == [
        ("x", None),
        (None, None),
        ({}, {"n": 1}),
        ({}, {"n": 1}),
    ]
    for task in claimed:
        assert door.complete(task, 1)["status"] == "completed"
    assert door.counts("ours") == (0, 0)


def test_completing_moves_the_message_and_starts_what_is_next(door: Door) -> None:
    """State, archive and the next messages in one call; only the last of a map ends the step."""
    door.flow("flow", each=a_map(), last=deps("each"))
    run = door.start("flow", [1, 2])
    one, two = door.claim("flow")
    assert door.counts("flow") == (2, 0)

    door.complete(two, "second")
    assert door.counts("flow") == (1, 1)
    assert (
        door.step(run, "each")["remaining_tasks"],
        door.step(run, "last")["remaining_deps"],
    ) == (1, 1)
    row = door.complete(one, None)

    assert (row["status"], row["output"], row["completed_at"] is not None) == (
        "completed",
        None,
        True,
    )
    each = door.step(run, "each")
    assert (each["status"], each["output"], each["remaining_tasks"]) == (
        "completed",
        [None, "second"],
        0,
    )
    assert door.step(run, "last")["status"] == "started"
    assert door.run(run)["remaining_steps"] == 1
    assert door.counts("flow") == (1, 2)


def test_completing_twice_counts_once(door: Door) -> None:
    """The second report changes nothing and returns the row."""
    door.flow("flow", each=a_map(), last=deps("each"))
    run = door.start("flow", [1, 2])
    task = door.claim("flow")[0]

    rows = [door.complete(task, "first"), door.complete(task, "again"), door.fail(task, "late")]

    assert [(row["status"], row["output"]) for row in rows] == [("completed", "first")] * 3
    assert door.step(run, "each")["remaining_tasks"] == 1
    assert door.counts("flow") == (1, 1)


def test_a_report_about_a_queued_or_unknown_task_changes_nothing(door: Door) -> None:
    """The queued one's message stays where it is; of an unknown one there is no row."""
    door.flow("flow", a={})
    run = door.start("flow")
    task = {"run_id": run, "step_slug": "a", "task_index": 0}

    rows = [door.complete(task, 1), door.fail(task)]

    assert [row["status"] for row in rows] == ["queued", "queued"]
    assert door.counts("flow") == (1, 0)
    for function in ("complete_task", "fail_task"):
        call = f"select count(*) from pgflow.{function}(%s, %s, %s, null)"
        for key in ((run, "a", 1), (run, "b", 0), (str(uuid4()), "a", 0)):
            assert door.one(call, *key) == 0
