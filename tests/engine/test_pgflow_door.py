"""pgflow's own functions over the same internals: happy path, retry, final failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import a_step, done

if TYPE_CHECKING:
    from tests.engine.driver import Engine


@pytest.fixture
def flow(engine: Engine) -> str:
    """A diamond from first to last, made by create_flow and add_step."""
    engine.db.execute("select pgflow.create_flow('flow', max_attempts => 2, base_delay => 3)")
    engine.db.execute("select pgflow.add_step('flow', 'first')")
    engine.db.execute("select pgflow.add_step('flow', 'left', array['first'])")
    engine.db.execute("select pgflow.add_step('flow', 'right', array['first'], start_delay => 0)")
    engine.db.execute("select pgflow.add_step('flow', 'last', array['left', 'right'])")
    return "flow"


def test_a_run_is_worked_off_by_read_start_and_complete(engine: Engine, flow: str) -> None:
    """The two statements of a pgflow worker, until the run is completed."""
    run = _start(engine, '{"n": 7}')
    seen: list[tuple[Any, ...]] = []

    while tasks := _claim(engine):
        for step, step_input, flow_input in tasks:
            seen.append((step, step_input, flow_input))
            row = engine.db.execute(
                "select status, output from pgflow.complete_task(%s, %s, 0, %s)",
                [run, step, f'"{step}"'],
            ).fetchone()
            assert row == ("completed", step)

    assert seen == [
        ("first", {}, {"n": 7}),
        ("left", {"first": "first"}, None),
        ("right", {"first": "first"}, None),
        ("last", {"left": "left", "right": "right"}, None),
    ]
    assert _run(engine, run) == ("completed", 0, {"last": "last"})
    assert engine.one("select count(*) from pgmq.q_flow") == 0
    assert engine.one("select count(*) from pgmq.a_flow") == 4


def test_the_message_holds_four_keys_and_nothing_else(engine: Engine, flow: str) -> None:
    """Callers compare it whole."""
    run = _start(engine, "{}")

    message = engine.one("select message from pgmq.q_flow")

    assert message == {"flow_slug": "flow", "run_id": run, "step_slug": "first", "task_index": 0}


def test_a_failure_goes_again_after_base_delay_times_two_to_the_claims(
    engine: Engine, flow: str
) -> None:
    """3 * 2^1 = 6 s after the first claim, exact; the second failure is final."""
    engine.now("2026-01-01 12:00:00Z")
    run = _start(engine, "{}")
    _claim(engine)

    again = engine.db.execute("select (f).status, (f).error_message, (f).attempts_count from (select pgflow.fail_task(%s, 'first', 0, 'no') f) x", [run]).fetchone()  # fmt: skip  # noqa: E501
    rest = engine.one(
        "select extract(epoch from vt - '2026-01-01 12:00:00Z')::int from pgmq.q_flow"
    )
    engine.db.execute("update pgmq.q_flow set vt = now()")
    _claim(engine)
    final = engine.one(
        "select (f).status from (select pgflow.fail_task(%s, 'first', 0, 'never') f) x", run
    )

    assert again == ("queued", "no", 1)
    assert rest == 6
    assert final == "failed"
    assert _run(engine, run)[0] == "failed"
    steps = engine.db.execute(
        "select step_slug, status, error_message from pgflow.step_states order by 1"
    ).fetchall()
    assert steps == [
        ("first", "failed", "never"),
        ("last", "created", None),
        ("left", "created", None),
        ("right", "created", None),
    ]
    assert engine.one("select count(*) from pgmq.q_flow") == 0


def test_a_map_over_the_run_input_gives_each_element_to_a_task(engine: Engine) -> None:
    """A root map: the input is an array, the elements come unwrapped, the outputs in order."""
    engine.db.execute("select pgflow.create_flow('maps')")
    engine.db.execute("select pgflow.add_step('maps', 'each', step_type => 'map')")
    run = str(engine.one("select run_id from pgflow.start_flow('maps', '[10, 20, 30]')"))

    for step, item, _ in _claim(engine, "maps"):
        index = item // 10 - 1
        engine.db.execute(
            "select pgflow.complete_task(%s, %s, %s, %s)", [run, step, index, str(item + 1)]
        )

    assert _run(engine, run) == ("completed", 0, {"each": [11, 21, 31]})


@pytest.mark.parametrize(
    ("query", "sqlstate", "text"),
    [
        ("select pgflow.create_flow('run')", "23514", "slug_is_valid"),
        ("select pgflow.add_step('nope', 'a')", "23503", "steps_flow_slug_fkey"),
        (
            "select pgflow.add_step('flow', 'x', array['nope'])",
            "23503",
            "deps_flow_slug_dep_slug_fkey",
        ),
        ("select pgflow.add_step('flow', 'x', array['x'])", "23514", "deps_check"),
        (
            "select pgflow.add_step('flow', 'x', max_attempts => -1)",
            "23514",
            "opt_max_attempts_is_nonnegative",
        ),
        (
            "select pgflow.add_step('flow', 'x', when_unmet => 'what')",
            "23514",
            "when_unmet_is_valid",
        ),
        (
            "select pgflow.add_step('flow', 'x', array['left', 'right'], step_type => 'map')",
            "P0001",
            'Map step "x" can have at most one dependency, but 2 were provided: left, right',
        ),
        ("select pgflow.start_flow('nope', '{}')", "23503", "runs_flow_slug_fkey"),
        ("select pgflow.start_flow('flow', null)", "23502", '"input"'),
    ],
)
def test_mistakes_come_through_with_postgresqls_names(
    engine: Engine, flow: str, query: str, sqlstate: str, text: str
) -> None:
    """Callers match the SQLSTATE and the constraint's name."""
    with pytest.raises(psycopg.Error) as refused:
        engine.one(query)

    assert refused.value.sqlstate == sqlstate
    assert text in str(refused.value)


def test_definitions_are_idempotent_and_keep_their_options(engine: Engine, flow: str) -> None:
    """An existing flow or step comes back unchanged."""
    again = engine.one(
        "select (f).opt_max_attempts from (select pgflow.create_flow('flow', 9) f) x"
    )
    step = engine.one("select (s).step_index from (select pgflow.add_step('flow', 'left') s) x")

    assert (again, step) == (2, 1)
    assert engine.one("select opt_base_delay from pgflow.create_flow('defaults')") == 5


def test_a_used_run_id_is_a_primary_key_violation(engine: Engine, flow: str) -> None:
    """It is pgflow's idempotency key."""
    run = _start(engine, "{}")

    with pytest.raises(psycopg.errors.UniqueViolation, match="runs_pkey"):
        engine.one("select pgflow.start_flow('flow', '{}', %s)", run)


def test_this_door_changes_nothing_on_a_task_that_a_worker_of_ours_holds(engine: Engine) -> None:
    """A lease is ours: unfenced reports pass it by."""
    engine.deploy("ours", {"a": a_step()})
    run = engine.start("ours")
    (task,) = engine.claim("ours")

    engine.db.execute("select pgflow.complete_task(%s, 'a', 0, '1')", [run])
    engine.db.execute("select pgflow.fail_task(%s, 'a', 0, 'x')", [run])

    assert engine.statuses(run) == {"a": "started"}
    assert engine.report(done(task)) == ["applied"]


def test_claiming_twice_gives_the_task_once(engine: Engine, flow: str) -> None:
    """A duplicate delivery claims nothing; null and empty arrays give no row and no error."""
    _start(engine, "{}")
    claim = """select count(*) from pgflow.start_tasks(
      'flow', array(select msg_id from pgmq.q_flow), null)"""

    assert [engine.one(claim), engine.one(claim)] == [1, 0]
    assert engine.one("select count(*) from pgflow.start_tasks('flow', null, null)") == 0
    assert engine.one("select count(*) from pgflow.start_tasks('flow', '{}', null)") == 0
    assert engine.one("select vt > now() + interval '60 s' from pgmq.q_flow") is True


def _start(engine: Engine, run_input: str) -> str:
    return str(engine.one("select run_id from pgflow.start_flow('flow', %s)", run_input))


def _claim(engine: Engine, flow: str = "flow") -> list[tuple[Any, ...]]:
    return engine.db.execute(
        """select step_slug, input, flow_input from pgflow.start_tasks(
          %s, array(select msg_id from pgmq.read(%s, 5, 10)), %s)""",
        [flow, flow, engine.worker],
    ).fetchall()


def _run(engine: Engine, run: str) -> tuple[Any, ...]:
    query = "select status, remaining_steps, output from pgflow.runs where run_id = %s"
    return engine.db.execute(query, [run]).fetchall()[0]
