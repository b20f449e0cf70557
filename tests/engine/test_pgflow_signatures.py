"""The functions that pgflow's clients call: names, arguments, defaults, results, rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door

SIGNATURES = {
    "is_valid_slug": ("slug text", "boolean"),
    "calculate_retry_delay": ("base_delay numeric, attempts_count integer", "integer"),
    "create_flow": (
        (
            "flow_slug text, max_attempts integer = NULL, base_delay integer = NULL, timeout "
            "integer = NULL"
        ),
        "pgflow.flows",
    ),
    "add_step": (
        (
            "flow_slug text, step_slug text, deps_slugs text[] = '{}', max_attempts integer = "
            "NULL, base_delay integer = NULL, timeout integer = NULL, start_delay integer = "
            "NULL, step_type text = 'single', required_input_pattern jsonb = NULL, "
            "forbidden_input_pattern jsonb = NULL, when_unmet text = 'skip', when_exhausted "
            "text = 'fail'"
        ),
        "pgflow.steps",
    ),
    "ensure_flow_compiled": (
        "flow_slug text, shape jsonb, allow_data_loss boolean = false",
        "jsonb",
    ),
    "delete_flow_and_data": ("p_flow_slug text", "void"),
    "_create_flow_from_shape": ("p_flow_slug text, p_shape jsonb", "void"),
    "_get_flow_shape": ("p_flow_slug text", "jsonb"),
    "_compare_flow_shapes": ("p_local jsonb, p_db jsonb", "text[]"),
    "start_flow": ("flow_slug text, input jsonb, run_id uuid = NULL", "SETOF pgflow.runs"),
    "start_flow_with_states": ("flow_slug text, input jsonb, run_id uuid = NULL", "jsonb"),
    "get_run_with_states": ("run_id uuid", "jsonb"),
    "start_ready_steps": ("run_id uuid", "void"),
    "start_tasks": (
        ("flow_slug text, msg_ids bigint[], worker_id uuid, queue_name text = NULL"),
        "SETOF pgflow.step_task_record",
    ),
    "complete_task": (
        "run_id uuid, step_slug text, task_index integer, output jsonb",
        "SETOF pgflow.step_tasks",
    ),
    "fail_task": (
        "run_id uuid, step_slug text, task_index integer, error_message text",
        "SETOF pgflow.step_tasks",
    ),
    "maybe_complete_run": ("run_id uuid", "void"),
    "cascade_complete_taskless_steps": ("run_id uuid", "integer"),
    "cascade_resolve_conditions": ("run_id uuid", "boolean"),
    "_cascade_force_skip_steps": ("run_id uuid, step_slug text, skip_reason text", "integer"),
    "_archive_task_message": ("p_run_id uuid, p_step_slug text, p_task_index integer", "void"),
    "requeue_stalled_tasks": ("", "integer"),
    "set_vt_batch": (
        "queue_name text, msg_ids bigint[], vt_offsets integer[]",
        (
            "TABLE(msg_id bigint, read_ct integer, enqueued_at timestamp with time zone, vt "
            "timestamp with time zone, message jsonb, headers jsonb)"
        ),
    ),
    "poll_for_tasks": (
        (
            "queue_name text, vt integer, qty integer, max_poll_seconds integer = 5, "
            "poll_interval_ms integer = 100"
        ),
        "SETOF pgflow.step_task_record",
    ),
    "track_worker_function": ("function_name text", "void"),
    "mark_worker_stopped": ("worker_id uuid", "void"),
    "read_with_poll": (
        (
            "queue_name text, vt integer, qty integer, max_poll_seconds integer = 5, "
            "poll_interval_ms integer = 100"
        ),
        "SETOF pgmq.message_record",
    ),
    "ensure_workflow_queue": ("queue_name text", "void"),
}
DEFINERS = {
    "start_flow_with_states",
    "get_run_with_states",
    "requeue_stalled_tasks",
}
CALCULATE = {"is_valid_slug", "calculate_retry_delay", "_compare_flow_shapes", "_get_flow_shape"}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_function_of_pgflow_is_there_once_with_its_signature(by_hand: Door, name: str) -> None:
    """Callers pass arguments by name, by position or mixed, leave out defaults, type variables."""
    by_hand.one("select set_config('search_path', 'pg_catalog', false)")
    found = by_hand.rows(
        r"""select replace(regexp_replace(pg_get_function_arguments(oid), '::\w+(\[\])?', '', 'g'),
            ' DEFAULT ', ' = ') as arguments,
          pg_get_function_result(oid) as result,
          prosecdef as definer, provolatile = 'v' as volatile
        from pg_proc where pronamespace = 'pgflow'::regnamespace and proname = %s""",
        name,
    )

    arguments, result = SIGNATURES[name]
    assert found == [
        {
            "arguments": arguments,
            "result": result,
            "definer": name in DEFINERS,
            "volatile": name not in CALCULATE,
        }
    ]


@pytest.mark.parametrize(
    "name",
    ["is_local", "ensure_workers", "setup_ensure_workers_cron", "prune_data_older_than"],
)
def test_names_that_are_supabases_or_the_users_stay_free(by_hand: Door, name: str) -> None:
    """Users create them themselves."""
    query = (
        "select count(*) from pg_proc where pronamespace = 'pgflow'::regnamespace and proname = %s"
    )
    assert by_hand.one(query, name) == 0


@pytest.mark.parametrize(
    ("slug", "valid"),
    [
        (None, False),
        ("", False),
        ("a", True),
        ("_", True),
        ("Mixed_Case9", True),
        ("9a", False),
        ("a-b", False),
        ("a b", False),
        ("a\n", False),
        ("run", False),
        ("Run", True),
        ("runs", True),
        ("é", False),
        ("a" * 128, True),
        ("a" * 129, False),
    ],
)
def test_a_slug_is_letters_digits_and_underscores(
    by_hand: Door, slug: str | None, valid: object
) -> None:
    """Null is false and never null."""
    assert by_hand.one("select pgflow.is_valid_slug(%s)", slug) is valid


def test_a_fresh_installation_is_empty_and_grants_nothing(by_hand: Door) -> None:
    """No row in any table but the worker of this test; nothing is for everybody."""
    tables = ["flows", "steps", "deps", "runs", "step_states", "step_tasks", "worker_functions"]
    rows = [by_hand.one(f"select count(*) from pgflow.{table}") for table in tables]

    assert rows == [0] * len(tables)
    assert by_hand.one("select has_schema_privilege('public', 'pgflow', 'usage')") is False


@pytest.mark.parametrize(
    ("base", "attempts", "seconds"), [(1, 0, 1), (5, 1, 10), (3, 4, 48), (0, 9, 0), (1.5, 1, 3)]
)
def test_the_retry_delay_doubles_with_each_claim(
    by_hand: Door, base: float, attempts: int, seconds: int
) -> None:
    """floor(base * 2^claims), no cap, no jitter."""
    assert (
        by_hand.one("select pgflow.calculate_retry_delay(%s::numeric, %s)", base, attempts)
        == seconds
    )
