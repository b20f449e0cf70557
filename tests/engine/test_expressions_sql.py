"""The evaluator in SQL: the shared cases, and agreement with Python's on random trees."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from pgflow_yaml.language.expressions import ExpressionError, evaluate, parse_expression
from pgflow_yaml.language.expressions.values import equal, json_text
from tests import expression_trees
from tests.expression_cases import CASES, ENV, ROOTS, Case
from tests.fixtures import pg
from tests.fixtures.effort import examples, patient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.database.embedded import LocalServer
    from pgflow_yaml.language.model import Json


@pytest.fixture(scope="module")
def sql(server: LocalServer, template: str) -> Iterator[psycopg.Connection]:
    """One database for the module: an evaluation reads and writes nothing."""
    with (
        contextmanager(pg._fresh)(server, template) as conninfo,
        psycopg.connect(conninfo, autocommit=True) as connection,
    ):
        yield connection


def in_sql(sql: psycopg.Connection, tree: Any, env: dict[str, Any]) -> Any:
    """Evaluate in the database."""
    row = sql.execute(
        "select pgflow.evaluate(%s::jsonb, %s::jsonb)::text", [json.dumps(tree), json.dumps(env)]
    ).fetchone()
    assert row is not None
    return json.loads(row[0])


def in_python(sql: psycopg.Connection, tree: Any, env: dict[str, Any]) -> Any:
    """Evaluate here what a worker would see: tree and environment as the database has them."""
    row = sql.execute(
        "select %s::jsonb::text, %s::jsonb::text", [json.dumps(tree), json.dumps(env)]
    ).fetchone()
    assert row is not None
    try:
        return {"value": evaluate(json.loads(row[0]), json.loads(row[1]))}
    except ExpressionError as error:
        return {"error": str(error)}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_database_gives_the_value_or_the_error_of_the_case(
    sql: psycopg.Connection, case: Case
) -> None:
    """Each case of the shared table holds in SQL."""
    case.check(in_sql(sql, parse_expression(case.text, roots=ROOTS).ast, ENV))


@patient
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=expression_trees.trees(), env=expression_trees.environments())
def test_python_and_sql_never_differ(
    sql: psycopg.Connection, tree: Any, env: dict[str, Any]
) -> None:
    """Any tree over any JSON gives the same value in both, or the same error."""
    here, there = in_python(sql, tree, env), in_sql(sql, tree, env)
    assert here.keys() == there.keys(), (here, there)
    if "error" in here:
        assert here == there
    else:
        assert equal(here["value"], there["value"]), (here, there)
        assert json_text(here["value"]) == json_text(there["value"])


@pytest.mark.parametrize(
    "tree",
    [
        "null",
        "[]",
        "7",
        '["nope"]',
        '["lit"]',
        '["path"]',
        '["call", "nope"]',
        '["call", "len"]',
        '["for", 1, 2, 3]',
        '["+", ["lit", 1]]',
        '["and"]',
        '["dict", "a"]',
        '["not", ' * 5000 + "1" + "]" * 5000,
    ],
)
def test_a_tree_that_no_parser_made_never_raises(sql: psycopg.Connection, tree: str) -> None:
    """A forged row cannot abort the transaction of a turn (S-20)."""
    with sql.transaction():
        row = sql.execute("select pgflow.evaluate(%s::jsonb, '{}')", [tree]).fetchone()
        assert row is not None
        assert [*row[0]] in (["value"], ["error"])
        assert sql.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("input.n + 1", "a number has more than 4,300 digits"),
        ("-input.n", "a number has more than 4,300 digits"),
        ("input.n * 0.5", "a number has more than 4,300 digits"),
        ("input.m * input.m", "a number has more than 4,300 digits"),
        ("input.m * 0.5", "a number is too large for a double"),
    ],
)
def test_a_number_of_any_size_gives_a_sentence(
    sql: psycopg.Connection, text: str, error: str
) -> None:
    """A database holds 131,072 digits; more than Python reads are refused."""
    row = sql.execute(
        "select pgflow.evaluate(%s, jsonb_build_object("
        "'input.n', repeat('9', 4301)::numeric, 'input.m', repeat('9', 4300)::numeric))",
        [json.dumps(parse_expression(text, roots=ROOTS).ast)],
    ).fetchone()
    assert row is not None
    assert row[0] == {"error": error}


def test_contains_is_the_operator_of_jsonb(sql: psycopg.Connection) -> None:
    """The pattern conditions of pgflow compile to it; no text does."""
    pattern = ["contains", ["path", "input"], ["lit", {"a": {"b": 1}}]]
    assert in_sql(sql, pattern, {"input": {"a": {"b": 1, "c": 2}}}) == {"value": True}
    assert in_sql(sql, pattern, {"input": {"a": {"c": 2}}}) == {"value": False}


def test_what_a_path_names_passes_whatever_its_size(sql: psycopg.Connection) -> None:
    """The bounds concern what an expression makes: a map over 20,000 items is no matter."""
    rows: list[Json] = [{"n": n, "text": "x" * 100} for n in range(20_000)]
    env: dict[str, Json] = {"input.rows": rows}
    tree = parse_expression("input.rows", roots=ROOTS).ast
    assert in_sql(sql, tree, env) == {"value": rows} == {"value": evaluate(tree, env)}
    made = parse_expression("[input.rows]", roots=ROOTS).ast
    assert in_sql(sql, made, env) == {"error": "the value is larger than 1 MiB"}
    with pytest.raises(ExpressionError, match="larger than 1 MiB"):
        evaluate(made, env)


def test_a_body_that_copies_large_values_is_stopped(sql: psycopg.Connection) -> None:
    """Reading a megabyte ten thousand times would take seconds: its size costs visits."""
    env = {"input.rows": ["x" * 1000] * 1000}
    tree = parse_expression("[len(input.rows) for x in range(10000)]", roots=ROOTS).ast
    assert in_sql(sql, tree, env) == {"error": "the expression takes more than 200,000 steps"}


@pytest.mark.parametrize(
    "text",
    [
        "[x * 2 for x in input.rows if x > 1]",
        "sum(input.rows)",
        "max(input.rows)",
        "sorted(input.rows)",
        "join(input.rows, ',')",
        "flatten(chunk(input.rows, 3))",
        "to_json(input.rows)",
        "[str(x) for x in input.rows]",
    ],
)
def test_ten_times_the_items_take_at_most_twenty_times_as_long(
    sql: psycopg.Connection, text: str
) -> None:
    """Nothing is quadratic, in neither evaluator."""
    tree = parse_expression(text, roots=ROOTS).ast

    def seconds(items: int, *, there: bool) -> float:
        env: dict[str, Json] = {"input.rows": [*range(items)]}
        clock = time.perf_counter if there else time.thread_time  # here others' work counts not
        started = clock()
        assert "error" not in in_sql(sql, tree, env) if there else evaluate(tree, env)
        return clock() - started

    def linear(*, there: bool) -> bool:
        few = min(seconds(1_000, there=there) for _ in range(3))
        return min(seconds(10_000, there=there) for _ in range(2)) <= 20 * few

    # A busy machine may stretch one measurement; what is quadratic takes a hundred times in each.
    for there in (False, True):
        assert any(linear(there=there) for _ in range(8))


def fail_nodes(db: psycopg.Connection, state: str) -> None:
    """Let the evaluation of any expression end with this error of the database."""
    db.execute(
        f"""
        create or replace function pgflow.expression_node(
          p_ast jsonb, p_env jsonb, p_variables jsonb, p_depth int
        ) returns jsonb language plpgsql as $$
        begin
          raise exception using errcode = '{state}', message = 'injected';
        end $$
        """.encode()
    )


@pytest.mark.parametrize("state", ["53200", "40001", "58030"])
def test_a_shortage_of_the_server_is_no_error_of_the_expression(
    db: psycopg.Connection, state: str
) -> None:
    """A step that failed for it would stay failed, while a turn that is repeated succeeds."""
    fail_nodes(db, state)

    with pytest.raises(psycopg.OperationalError, match="injected"):
        in_sql(db, ["lit", 1], {})


def test_an_error_of_the_values_is_one_of_the_expression(db: psycopg.Connection) -> None:
    """It would be there at each repetition."""
    fail_nodes(db, "22012")

    assert "injected" in in_sql(db, ["lit", 1], {})["error"]
