"""create_flow, add_step, the shapes of flows, and their deletion."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import Engine, a_step
from tests.engine.pgflow_door import a_map, deps

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door, Row

FREE = {"defined": False}


def _step(slug: str, *dependencies: str, **keys: Any) -> Row:
    return {
        "slug": slug,
        "stepType": "single",
        "dependencies": list(dependencies),
        "whenUnmet": "skip",
        "whenExhausted": "fail",
        "requiredInputPattern": FREE,
        "forbiddenInputPattern": FREE,
    } | keys


def _shape(*steps: Row, **options: int) -> Row:
    return {"steps": list(steps)} | ({"options": options} if options else {})


def _compile(door: Door, shape: Row, *more: object) -> Row:
    places = ", %s" * len(more)
    query = f"select pgflow.ensure_flow_compiled('flow', %s{places})"
    reply: Row = door.one(query, json.dumps(shape), *more)
    return reply


def test_create_flow_makes_the_queue_again_where_somebody_dropped_it(door: Door) -> None:
    """For an existing flow too, and the flow comes back unchanged."""
    door.flow("flow")
    door.one("select pgmq.drop_queue('flow')")

    (flow,) = door.rows("select * from pgflow.create_flow('flow', 9, 9, 9)")

    assert (flow["opt_max_attempts"], flow["opt_base_delay"], flow["opt_timeout"]) == (3, 5, 60)
    assert door.one("select count(*) from pgmq.list_queues() where queue_name = 'flow'") == 1
    assert door.counts("flow") == (0, 0)


def test_a_queue_that_is_made_again_numbers_on(door: Door) -> None:
    """Two tasks never share a message, so a late report cannot hit another task's."""
    door.flow("flow", a={})
    door.start("flow")
    door.one("select pgmq.drop_queue('flow')")
    door.flow("flow")

    second = door.start("flow")

    assert [task["message_id"] for task in door.tasks(second, "a")] == [2]
    door.one("delete from pgflow.step_tasks where message_id = 1 returning 1")
    door.one("delete from pgflow.step_states where run_id <> %s returning 1", second)
    door.one("delete from pgflow.runs where run_id <> %s returning 1", second)


def test_slugs_that_differ_in_case_share_one_queue(door: Door) -> None:
    """Pgmq lower-cases table names; deleting one of the flows leaves the other its messages."""
    runs = {slug: door.start(door.flow(slug, a={})) for slug in ("Twin", "twin")}
    query = "select message ->> 'flow_slug' from pgmq.q_twin order by msg_id"
    assert door.column(query) == ["Twin", "twin"]

    door.one("select pgflow.delete_flow_and_data('Twin')")

    assert door.column(query) == ["twin"]
    assert door.work("twin") == ["a"]
    assert door.run(runs["twin"])["status"] == "completed"


def test_a_long_slug_is_refused_by_the_queue(door: Door) -> None:
    """48 characters pass the check and are too many for pgmq; nothing is written."""
    with pytest.raises(psycopg.Error, match="queue name is too long"):
        door.flow("a" * 48)

    assert door.one("select count(*) from pgflow.flows") == 0


def test_steps_are_numbered_and_count_their_dependencies(door: Door) -> None:
    """A null array means none; an existing step takes new dependencies and keeps its count."""
    door.flow("flow", a={"deps_slugs": None}, b={}, c=deps("a"))
    again = door.rows("select * from pgflow.add_step('flow', 'c', array['a', 'b'], 7)")

    steps = door.rows(
        "select step_slug, step_index, deps_count, opt_max_attempts from pgflow.steps order by 2"
    )
    assert [tuple(step.values()) for step in steps] == [
        ("a", 0, 0, None),
        ("b", 1, 0, None),
        ("c", 2, 1, None),
    ]
    assert (again[0]["step_index"], again[0]["opt_max_attempts"]) == (2, None)
    assert door.column("select dep_slug from pgflow.deps order by 1") == ["a", "b"]


def test_the_rule_for_maps_comes_before_all_others(door: Door) -> None:
    """Neither the flow nor the dependencies have to exist for it."""
    query = "select pgflow.add_step('nope', 'Bad slug', '{x, y, z}', step_type => 'map')"
    with pytest.raises(psycopg.errors.RaiseException) as refused:
        door.one(query)

    assert refused.value.diag.message_primary == (
        'Map step "Bad slug" can have at most one dependency, but 3 were provided: x, y, z'
    )


@pytest.mark.parametrize(
    ("option", "constraint"),
    [
        ("step_type => 'loop'", "steps_step_type_check"),
        ("timeout => 0", "opt_timeout_is_positive"),
        ("base_delay => -1", "opt_base_delay_is_nonnegative"),
        ("start_delay => -1", "opt_start_delay_is_nonnegative"),
        ("required_input_pattern => '[]'", "required_input_pattern_is_object"),
        ("forbidden_input_pattern => '1'", "forbidden_input_pattern_is_object"),
        ("when_exhausted => 'retry'", "when_exhausted_is_valid"),
    ],
)
def test_a_bad_option_names_its_constraint(door: Door, option: str, constraint: str) -> None:
    """PostgreSQL's own sentence comes through unchanged."""
    door.flow("flow")
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        door.one(f"select pgflow.add_step('flow', 'a', {option})")

    assert refused.value.diag.message_primary == (
        f'new row for relation "steps" violates check constraint "{constraint}"'
    )


def test_a_shape_is_compiled_verified_refused_and_recompiled(door: Door) -> None:
    """Only the caller's permission lets a changed flow go, with all its runs."""
    first = _shape(_step("a"), _step("b", "a", stepType="map"), maxAttempts=7)
    second = _shape(_step("a"), _step("b", "a", whenExhausted="skip"))

    assert _compile(door, first) == {"status": "compiled", "differences": []}
    run = door.start("flow")
    assert _compile(door, first) == {"status": "verified", "differences": []}
    refused = _compile(door, second)
    assert refused["status"] == "mismatch"
    assert len(refused["differences"]) == 2
    assert door.run(run)["status"] == "started"
    assert door.one("select opt_max_attempts from pgflow.flows") == 7

    replaced = _compile(door, second, True)

    assert replaced == {"status": "recompiled", "differences": refused["differences"]}
    assert _compile(door, second) == {"status": "verified", "differences": []}
    assert door.one("select count(*) from pgflow.runs") == 0
    assert door.counts("flow") == (0, 0)


def test_options_are_used_once_and_never_compared(door: Door) -> None:
    """They may be tuned by hand afterwards."""
    options = {"maxAttempts": 4, "baseDelay": 2, "timeout": 9, "startDelay": 1}
    shape = _shape(_step("a", options=options), baseDelay=3, timeout=8)
    _compile(door, shape)

    (flow,) = door.rows("select * from pgflow.flows")
    (step,) = door.rows("select * from pgflow.steps")
    assert (flow["opt_max_attempts"], flow["opt_base_delay"], flow["opt_timeout"]) == (3, 3, 8)
    assert [step[f"opt_{name}"] for name in ("max_attempts", "base_delay", "timeout")] == [4, 2, 9]
    assert step["opt_start_delay"] == 1
    assert _compile(door, _shape(_step("a")))["status"] == "verified"


def test_a_shape_without_keys_means_the_defaults(door: Door) -> None:
    """Then only its missing pattern objects differ from what is stored."""
    _compile(door, {"steps": [{"slug": "a"}]})

    assert door.one("select pgflow._get_flow_shape('flow')") == _shape(_step("a"))
    assert _compile(door, {"steps": [_step("a", whenUnmet=None)]})["status"] == "verified"
    bare = _compile(door, {"steps": [{"slug": "a"}]})
    assert (bare["status"], len(bare["differences"])) == ("mismatch", 2)


def test_the_stored_shape_has_patterns_and_sorted_dependencies(door: Door) -> None:
    """By position: a reordering is a difference."""
    door.flow(
        "flow",
        b={},
        a={},
        c=deps("b", "a", required_input_pattern={"a": 1}, when_unmet="fail"),
    )
    pattern = {"defined": True, "value": {"a": 1}}
    stored = door.one("select pgflow._get_flow_shape('flow')")

    third = _step("c", "a", "b", requiredInputPattern=pattern, whenUnmet="fail")
    assert stored == _shape(_step("b"), _step("a"), third)
    assert door.one("select pgflow._get_flow_shape('nope')") == {"steps": []}
    compare = "select pgflow._compare_flow_shapes(%s, %s)"
    swapped = json.dumps(_shape(_step("a"), _step("b"), third))
    assert door.one(compare, json.dumps(stored), json.dumps(stored)) == []
    assert len(door.one(compare, swapped, json.dumps(stored))) == 2
    assert len(door.one(compare, "{}", json.dumps(stored))) == 3


def test_a_local_database_recompiles_without_being_asked(door: Door) -> None:
    """is_local is Supabase's and looked up when needed; where it is missing nothing is local."""
    _compile(door, _shape(_step("a")))
    assert _compile(door, _shape(_step("b")))["status"] == "mismatch"
    door.db.execute(
        "create function pgflow.is_local() returns boolean language sql as 'select true'"
    )

    assert _compile(door, _shape(_step("b")))["status"] == "recompiled"
    assert door.column("select step_slug from pgflow.steps") == ["b"]


def test_deleting_a_flow_deletes_all_that_is_its_and_nothing_else(door: Door) -> None:
    """Runs that are being worked on go as well; a second call and an unknown flow are no error."""
    for slug in ("flow", "other"):
        door.flow(slug, a={}, b=a_map("a"))
        door.complete({"run_id": door.start(slug), "step_slug": "a", "task_index": 0}, [1])
        door.claim(slug)

    for _ in range(2):
        door.one("select pgflow.delete_flow_and_data('flow')")

    for table in ("flows", "steps", "deps", "runs", "step_states", "step_tasks"):
        found = door.column(f"select distinct flow_slug from pgflow.{table}")
        assert found == ["other"], table
    queues = door.column("select queue_name from pgmq.list_queues() order by 1")
    assert queues == ["other", "pgflow__timers"]


def test_deleting_a_version_leaves_the_queue_to_the_others(engine: Engine, door: Door) -> None:
    """Versions share a queue; only the messages of the one deleted go."""
    first = engine.deploy("ours", {"a": a_step()})
    engine.start("ours")
    engine.deploy("ours", {"b": a_step()})
    run = engine.start("ours")

    door.one("select pgflow.delete_flow_and_data(%s)", first["flow_slug"])

    assert door.column("select message ->> 'run_id' from pgmq.q_ours") == [run]
    assert len(engine.work("ours")) == 1
    second = engine.one("select flow_slug from pgflow.flows")
    door.one("select pgflow.delete_flow_and_data(%s)", second)
    assert door.one("select count(*) from pgmq.list_queues() where queue_name = 'ours'") == 0
    assert engine.one("select count(*) from pgflow.definitions") == 0
