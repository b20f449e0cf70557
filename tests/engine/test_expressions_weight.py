"""The work of an expression is bounded by weight, and both evaluators weigh the same."""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from pgflow_yaml.language.expressions import ExpressionError, costs, evaluate, parse_expression
from pgflow_yaml.language.expressions.evaluator import _Evaluation
from pgflow_yaml.language.expressions.weights import MOST, weight
from tests import expression_trees
from tests.engine.test_expressions_sql import in_python, in_sql, sql
from tests.expression_cases import ROOTS
from tests.fixtures.effort import examples, patient
from tests.heavy_expressions import HEAVY, environment

if TYPE_CHECKING:
    import psycopg

__all__ = ["sql"]

_SECONDS = 3.0  # one, on a machine that is not busy


@pytest.mark.parametrize("text", HEAVY)
def test_a_heavy_expression_has_the_same_answer_in_both_within_a_second(
    sql: psycopg.Connection, text: str
) -> None:
    """Each answer takes a second of the processor at most, and is the same in both."""
    expression = parse_expression(text, roots=ROOTS)
    env = {path: environment()[path] for path in expression.paths}
    started = time.thread_time()
    here = in_python(sql, expression.ast, env)
    assert time.thread_time() - started < _SECONDS
    sql.execute("set statement_timeout = '10s'")
    try:
        there = in_sql(sql, expression.ast, env)
    finally:
        sql.execute("reset statement_timeout")
    assert here == there


@pytest.mark.parametrize(
    "text",
    [
        "[b + b + b + b for b in input.blocks]",
        "len(product(input.blocks, input.blocks))",
        "json(input.boxes)",
        "[input.half * input.half for x in range(10000)]",
    ],
)
def test_a_heavy_expression_takes_little_memory(text: str) -> None:
    """It is refused while it is built, not after."""
    expression = parse_expression(text, roots=ROOTS)
    tracemalloc.start()
    with pytest.raises(ExpressionError):
        evaluate(expression.ast, environment())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64_000_000


@patient
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=expression_trees.ANY | expression_trees.LISTS | expression_trees.OBJECTS)
def test_the_weight_of_a_value_is_its_size_as_jsonb(sql: psycopg.Connection, value: Any) -> None:
    """Python computes what PostgreSQL reads from the header."""
    row = sql.execute(
        "select pg_column_size(v.v), v.v::text from (select (%s::jsonb -> 0) as v offset 0) v",
        [json.dumps([value])],
    ).fetchone()
    assert row is not None
    assert weight(json.loads(row[1]), {}) == row[0]


def test_the_weight_of_numbers_follows_their_digits(sql: psycopg.Connection) -> None:
    """Zeros at the end are not stored; beyond 64 groups of digits the header is longer."""
    for number in (10**255, 10**256, 10**256 + 1, 10**4299, 7 * 10**300, 12345 * 10**40 + 1):
        row = sql.execute("select pg_column_size(%s::jsonb)", [str(number)]).fetchone()
        assert row == (weight(number, {}),)


def steps_in_python(sql: psycopg.Connection, tree: Any, env: dict[str, Any]) -> int:
    """Evaluate here, with values as the database has them; return the steps."""
    row = sql.execute(
        "select %s::jsonb::text, %s::jsonb::text", [json.dumps(tree), json.dumps(env)]
    ).fetchone()
    assert row is not None
    run = _Evaluation(json.loads(row[1]))
    run.value(json.loads(row[0]), 0)
    return run.steps


def steps_in_sql(sql: psycopg.Connection, tree: Any, env: dict[str, Any]) -> int:
    """Evaluate in the database; return the steps."""
    with sql.transaction():
        in_sql(sql, tree, env)
        row = sql.execute("select current_setting('pgflow.expression_steps')::int").fetchone()
    assert row is not None
    return int(row[0])


@patient
@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=expression_trees.trees(), env=expression_trees.environments())
def test_both_evaluators_take_the_same_steps(
    sql: psycopg.Connection, tree: Any, env: dict[str, Any]
) -> None:
    """Small values repeated, so that they are charged."""
    env = {
        path: value * 40 if isinstance(value, str | list) else value for path, value in env.items()
    }
    try:
        here = steps_in_python(sql, tree, env)
    except ExpressionError:
        return
    assert here == steps_in_sql(sql, tree, env)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("input.a == input.b", 24_024 // 200),  # two of 4 + 4 + 1000 * 12 bytes, and a header each
        ("7 in input.a", 1_000 // 4),
        ("'x' in input.a", 1_000 // 10),
        ("[x for x in input.a]", 1_000),
        ("len(input.a)", 0),
        ("len(input.text)", 10_012 // 1_000),
        ("input.text + 'x'", (10_012 + 13) // 1_000),
        ("upper(input.text)", 2 * (10_012 // 100)),
        ("'ab' in input.text", 10_012 // 1_000 + 9_998 * 2 // 2_500),
        ("[input.text for x in input.few]", 3 * 1 + 3 * (10_012 // 4_000)),
        ("input.a + input.a", 2_000 // 10 + 24_016 // 1_000),
    ],
)
def test_the_steps_of_an_operation_follow_the_table(
    sql: psycopg.Connection, text: str, steps: int
) -> None:
    """What the table says, in both."""
    env = {
        "input.a": [7] * 1_000,
        "input.b": [7] * 1_000,
        "input.text": "x" * 10_000,
        "input.few": [1, 2, 3],
    }
    tree = parse_expression(text, roots=ROOTS).ast
    assert steps_in_python(sql, tree, env) == steps
    assert steps_in_sql(sql, tree, env) == steps


def test_there_is_one_table_of_costs(sql: psycopg.Connection) -> None:
    """SQL has each entry of Python's, and no other."""
    table = {
        **costs.COSTS,
        "steps": costs.MAX_STEPS,
        "made": costs.MAX_MADE,
        "weight": MOST,
        "free": costs.FREE,
        "free bytes": costs.FREE_BYTES,
        "ordering": costs.ORDERING_STEPS,
    }
    row = sql.execute(
        "select pg_get_functiondef('pgflow.expression_cost(text)'::regprocedure)"
    ).fetchone()
    assert row is not None
    there = {name: int(value) for name, value in re.findall(r"when '([^']+)' then (\d+)", row[0])}
    assert there == table
