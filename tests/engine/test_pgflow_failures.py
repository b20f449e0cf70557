"""fail_task, type violations, and what a failure leaves of a run."""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.pgflow_door import a_map, deps

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door, Row

NOT_AN_ARRAY = [({"a": 1}, "object"), (3, "number"), ("x", "string"), (None, "null")]


@pytest.mark.parametrize(("attempts", "base"), [(1, 5), (3, 2)])
def test_the_back_off_is_exact_and_never_capped(by_hand: Door, attempts: int, base: int) -> None:
    """It is calculate_retry_delay to the second; the message stays the same."""
    by_hand.flow("flow", a={"max_attempts": 9, "base_delay": base})
    run = by_hand.start("flow")
    with by_hand.db.transaction():
        for _ in range(attempts):
            by_hand.one("update pgmq.q_flow set vt = now(), enqueued_at = now() returning 1")
            row = by_hand.fail(by_hand.claim("flow")[0], "no")

    assert (row["status"], row["started_at"], row["error_message"]) == ("queued", None, "no")
    rest = by_hand.rows(
        """select round(extract(epoch from vt - enqueued_at))::int as waits,
          pgflow.calculate_retry_delay(%s, %s) as expected, msg_id from pgmq.q_flow""",
        base,
        attempts,
    )
    assert [(r["waits"] - r["expected"], r["msg_id"]) for r in rest] == [(0, row["message_id"])]
    assert by_hand.run(run)["status"] == "started"


def test_very_many_claims_wait_very_long_and_overflow_nothing(by_hand: Door) -> None:
    """2^60 seconds would end time itself."""
    by_hand.flow("flow", a={"max_attempts": 2_000})
    by_hand.start("flow")
    task = by_hand.claim("flow")[0]
    by_hand.one("update pgflow.step_tasks set attempts_count = 1000 returning 1")

    assert by_hand.fail(task)["status"] == "queued"
    assert by_hand.one("select vt > now() + interval '60 years' from pgmq.q_flow")


def test_a_failure_without_a_message_has_none(door: Door) -> None:
    """Neither the task nor the step makes one up."""
    door.flow("flow", a={"max_attempts": 1})
    run = door.start("flow")

    row = door.report("fail_task", door.claim("flow")[0], None)

    assert (row["error_message"], door.step(run, "a")["error_message"]) == (None, None)


@pytest.mark.parametrize("most", [0, 1])
def test_with_at_most_one_attempt_the_first_failure_is_final(door: Door, most: int) -> None:
    """0 counts as 1; the step's number comes before the flow's."""
    door.flow("flow", a={"max_attempts": most})
    run = door.start("flow")

    row = door.fail(door.claim("flow")[0], "no")

    assert (row["status"], row["failed_at"] is not None, row["error_message"]) == (
        "failed",
        True,
        "no",
    )
    assert door.run(run)["status"] == "failed"


def test_a_final_failure_ends_the_run_and_all_that_lives_in_it(door: Door) -> None:
    """In that call: every message archived, live tasks cancelled, created steps stay created."""
    door.flow("flow", a={"max_attempts": 1}, each={}, queued={"start_delay": 60}, after=deps("a"))
    run = door.start("flow")
    tasks = {task["step_slug"]: task for task in door.claim("flow")}

    door.fail(tasks["a"], "no")

    assert list(door.statuses(run).values()) == ["failed", "started", "started", "created"]
    assert (door.step(run, "a")["error_message"], door.step(run, "after")["remaining_deps"]) == (
        "no",
        1,
    )
    assert [door.tasks(run, slug)[0]["status"] for slug in ("each", "queued")] == ["cancelled"] * 2
    assert (door.run(run)["status"], door.counts("flow")) == ("failed", (0, 3))
    late = door.complete(tasks["each"], 1)
    assert (late["status"], late["output"]) == ("cancelled", None)
    failed = door.fail(tasks["each"], "late")
    assert (failed["status"], failed["error_message"]) == ("failed", "late")
    assert door.fail({**tasks["each"], "step_slug": "queued"})["status"] == "cancelled"
    assert (door.claim("flow"), door.counts("flow")) == ([], (0, 3))


def test_an_exhausted_step_may_be_skipped_and_its_siblings_with_it(door: Door) -> None:
    """The failing task is failed, the others skipped; a map that hangs on it has no tasks."""
    door.flow(
        "flow",
        each=a_map(max_attempts=1, when_exhausted="skip"),
        single=deps("each"),
        wide=a_map("each"),
    )
    run = door.start("flow", [1, 2, 3])
    first, second = door.claim("flow", 2)

    door.fail(first, "no")

    each = door.step(run, "each")
    reason = (each["status"], each["skip_reason"], each["error_message"], each["remaining_tasks"])
    assert reason == ("skipped", "handler_failed", "no", None)
    assert [task["status"] for task in door.tasks(run, "each")] == ["failed", "skipped", "skipped"]
    assert door.statuses(run) == {"each": "skipped", "single": "started", "wide": "completed"}
    assert (door.run(run)["remaining_steps"], door.counts("flow")) == (1, (1, 3))
    for row in (door.fail(second), door.complete(second, 1), door.fail(first, "again")):
        assert row["error_message"] in (None, "no")
    assert (door.run(run)["remaining_steps"], door.step(run, "single")["remaining_deps"]) == (1, 0)
    assert [task["input"] for task in door.claim("flow")] == [{}]


def test_an_exhausted_step_may_take_all_downstream_with_it(door: Door) -> None:
    """A run whose leaves were all skipped completes with null."""
    door.flow(
        "flow",
        a={"max_attempts": 1, "when_exhausted": "skip-cascade"},
        b=deps("a"),
        c=deps("b"),
        d={},
    )
    run = door.start("flow")
    tasks = {task["step_slug"]: task for task in door.claim("flow")}

    assert door.fail(tasks["a"])["status"] == "failed"
    reasons = [door.step(run, slug)["skip_reason"] for slug in "abc"]
    assert reasons == ["handler_failed", "dependency_skipped", "dependency_skipped"]
    assert door.run(run)["remaining_steps"] == 1
    door.complete(tasks["d"], {"x": 1})

    assert (door.run(run)["status"], door.run(run)["output"]) == ("completed", {"d": {"x": 1}})


def test_a_skip_may_meet_a_condition_that_must_hold(door: Door) -> None:
    """Then the run fails in the same call, and the failing task is failed all the same."""
    must = {"required_input_pattern": {"a": {}}, "when_unmet": "fail"}
    door.flow("flow", a={"max_attempts": 1, "when_exhausted": "skip"}, b=deps("a", **must), c={})
    run = door.start("flow")
    tasks = {task["step_slug"]: task for task in door.claim("flow")}

    assert door.fail(tasks["a"])["status"] == "failed"
    assert door.statuses(run) == {"a": "skipped", "b": "failed", "c": "started"}
    assert (door.run(run)["status"], door.counts("flow")) == ("failed", (0, 2))


@pytest.mark.parametrize(("output", "kind"), NOT_AN_ARRAY)
def test_what_a_map_hangs_on_must_give_an_array(door: Door, output: Any, kind: str) -> None:
    """Else its producer's run fails, whatever when_exhausted says; no exception."""
    door.flow("flow", a={"when_exhausted": "skip"}, each=a_map("a"), other={}, later=deps("other"))
    run = door.start("flow")
    tasks = {task["step_slug"]: task for task in door.claim("flow")}

    row = door.complete(tasks["a"], output)

    text = f"[TYPE_VIOLATION] Produced {kind} instead of array"
    assert (row["status"], row["output"], row["error_message"]) == ("failed", output, text)
    assert list(door.statuses(run).values()) == ["failed", "created", "started", "created"]
    assert door.step(run, "a")["error_message"] == (
        f"[TYPE_VIOLATION] Map step each expects array input but dependency a produced {kind}"
    )
    assert door.step(run, "each")["initial_tasks"] is None
    assert (door.run(run)["status"], door.counts("flow")) == ("failed", (0, 2))
    assert door.complete(tasks["other"], 1)["status"] == "cancelled"


def test_a_map_behind_a_map_is_no_type_violation(door: Door) -> None:
    """Its size is the number of tasks, whatever each gave; a single step gives its array."""
    door.flow("flow", a=a_map(), b=a_map("a"), c=deps("b"), d=a_map("c"))
    run = door.start("flow", [1, 2])

    for slug in ("a", "b"):
        for task in door.claim("flow"):
            assert task["step_slug"] == slug
            door.complete(task, {"x": 1})
    (task,) = door.claim("flow")
    door.complete(task, [7])

    assert [door.step(run, slug)["initial_tasks"] for slug in "abcd"] == [2, 2, 1, 1]
    assert [task["input"] for task in door.claim("flow")] == [7]


def test_our_own_worker_keeps_the_rules_of_a_flow_that_create_flow_made(door: Door) -> None:
    """Whoever works on it: archived messages, type violations, the whole map at once."""
    door.flow("flow", a={}, each=a_map("a"))
    run = door.start("flow")
    good = door.start("flow")
    tasks = _turn(door, [])

    verdicts = door.one(
        "select pgflow.turn(%s, %s, '{}', 0, '30 s') -> 'verdicts'",
        door.worker,
        _reports(tasks, {run: {"no": 1}, good: list(range(1_500))}),
    )

    assert verdicts == ["applied", "applied"]
    assert (door.statuses(run), door.run(run)["status"]) == (
        {"a": "failed", "each": "created"},
        "failed",
    )
    assert door.statuses(good) == {"a": "completed", "each": "started"}
    assert door.counts("flow") == (1_500, 2)


def _turn(door: Door, results: list[Row]) -> list[Row]:
    query = "select pgflow.turn(%s, %s, '{flow}', 10, '30 s') -> 'tasks'"
    tasks: list[Row] = door.one(query, door.worker, dumps(results))
    return tasks


def _reports(tasks: list[Row], outputs: dict[str, object]) -> str:
    keys = ("run", "step", "index", "attempt")
    return dumps(
        [
            {key: task[key] for key in keys}
            | {"outcome": "completed", "output": outputs[task["run"]]}
            for task in tasks
        ]
    )
