"""The handler `sql`: one statement with bound parameters, in a database that the worker names."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest

from pgflow_yaml.errors import PermanentError, PgflowError
from pgflow_yaml.worker.calls import Context, Handlers, invoke, to_json_text
from pgflow_yaml.worker.calls.masks import masks
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.stock.conftest import Stock

PASSWORD = "hunter22-of-the-warehouse"


@pytest.fixture
def sql(stock: Stock, empty_database: str, monkeypatch: pytest.MonkeyPatch) -> Stock:
    """A worker with the database `warehouse`."""
    monkeypatch.setenv("PGFLOW_YAML_SQL_WAREHOUSE", empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("create table orders (id int primary key, customer text, tags jsonb)")
    return stock


def run(stock: Stock, statement: str, parameters: Any = None, **with_: Any) -> Any:
    return stock.call(
        "sql", database="warehouse", statement=statement, parameters=parameters, **with_
    )


def refused(stock: Stock, statement: str, parameters: Any = None, **with_: Any) -> PgflowError:
    with pytest.raises(PgflowError) as failed:
        run(stock, statement, parameters, **with_)
    return failed.value


def test_rows_and_numbers(sql: Stock) -> None:
    """What a statement returns, and how many rows it returned or changed; each is committed."""
    insert = "insert into orders values (%(id)s, %(name)s, %(tags)s)"
    for number in (1, 2, 3):
        values = {"id": number, "name": "ada'; drop table orders --", "tags": {"n": [number]}}
        assert run(sql, insert, values) == {"rows": [], "count": 1}

    assert run(sql, "select id, tags from orders where id = any(%s) order by id", [[1, 3]]) == {
        "rows": [{"id": 1, "tags": {"n": [1]}}, {"id": 3, "tags": {"n": [3]}}],
        "count": 2,
    }
    assert run(sql, "update orders set customer = 'x' where id < 3") == {"rows": [], "count": 2}
    assert run(sql, "delete from orders returning id", limit=3)["count"] == 3
    gone = "with gone as (delete from orders returning *) insert into orders select * from gone"
    assert run(sql, gone) == {"rows": [], "count": 0}
    assert run(sql, "create table other ()") == {"rows": [], "count": 0}
    assert run(sql, "select") == {"rows": [{}], "count": 1}
    assert run(sql, "select 1 as a where false") == {"rows": [], "count": 0}


def test_a_statement_without_rows_is_executed_once(sql: Stock) -> None:
    """A sequence counts the executions: it keeps what a rollback undoes."""
    run(sql, "create sequence executed")
    run(sql, "do $$ begin perform nextval('executed'); end $$")

    assert run(sql, "select last_value from executed")["rows"] == [{"last_value": 1}]


def test_a_percent_sign_is_one_without_parameters(sql: Stock) -> None:
    """With parameters it is written twice, as the driver wants it."""
    assert run(sql, "select 'ab' like 'a%' as a")["rows"] == [{"a": True}]
    assert run(sql, "select %s like 'a%%' as a", ["ab"])["rows"] == [{"a": True}]
    assert isinstance(refused(sql, "select %s"), PermanentError)
    assert isinstance(refused(sql, "select %s", []), PermanentError)
    assert isinstance(refused(sql, "select %(a)s", {"b": 1}), PermanentError)


def test_every_type_has_a_form_in_json(sql: Stock) -> None:
    """A number with a fraction keeps its digits as a text, and so do times and the rest."""
    statement = """
        select 1.50::numeric as n, 2::int8 as i, 0.5::float8 as f, null as nothing, true as t,
               '2026-11-25 08:00+00'::timestamptz as at, date '2026-11-25' as day,
               interval '90 min' as i2, '\\xdead'::bytea as b, '10.0.0.1'::inet as a,
               int4range(1, 3) as r, array[1, 2] as l, '{"a": [1]}'::jsonb as j,
               'aaaaaaaa-0000-7000-8000-000000000000'::uuid as u, array[interval '1 s'] as il
    """

    text = to_json_text(run(sql, statement)["rows"][0])

    for part in ('"n":"1.50"', '"i":2', '"f":0.5', '"day":"2026-11-25"', '"i2":"01:30:00"'):
        assert part in text
    for part in ('"a":"10.0.0.1"', '"r":"[1,3)"', '"l":[1,2]', '"il":["00:00:01"]', "xdead"):
        assert part in text


def test_rows_have_a_limit(sql: Stock, empty_database: str) -> None:
    """One row too many undoes the statement, and a million are not read."""
    series = "select generate_series(1, %s) as n"

    assert run(sql, series, [1000])["count"] == 1000
    began = time.monotonic()
    error = refused(sql, series, [20_000_000])
    assert time.monotonic() - began < 10
    assert isinstance(error, PermanentError)
    assert "more than 1,000 rows" in error.message
    insert = "insert into orders select generate_series(1, 3) returning id"
    refused(sql, insert, limit=2)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select count(*) from orders").fetchone() == (0,)
    assert run(sql, insert, limit=3)["count"] == 3
    for wrong in (-1, 10_001, True, "1", None):
        assert isinstance(refused(sql, series, [1], limit=wrong), PermanentError)


def test_rows_have_a_limit_of_bytes(sql: Stock, empty_database: str) -> None:
    """As the output of a step has; it is known before the statement is committed."""
    insert = "insert into orders select n, repeat(%s, 1000) from generate_series(1, %s) n"
    returning = f"{insert} returning customer"

    for letter, count in (("x", 3000), ("ä", 1500), ("\\", 1500)):
        error = refused(sql, returning, [letter, count], limit=3000)
        assert isinstance(error, PermanentError)
        assert "returns more than 2 MB, and was undone" in error.message
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select count(*) from orders").fetchone() == (0,)
    assert run(sql, returning, ["x", 2000], limit=2000)["count"] == 2000


def test_wrong_statements_fail_at_once(sql: Stock, empty_database: str) -> None:
    """Another attempt would fail again; nothing of them stays."""
    for statement in (
        "select 1; select 2",
        "insert into orders values (7); insert into orders values (8)",
        "commit; drop table orders",
        "selec 1",
        "select * from nowhere",
        "copy orders to stdout",
        "select 1 as a, 2 as a",
        "insert into orders values (1), (1)",
        "select 1 / 0 as n",
        "vacuum",
        "",
    ):
        assert isinstance(refused(sql, statement), PermanentError), statement

    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select count(*) from orders").fetchone() == (0,)


def test_what_may_pass_is_no_permanent_error(sql: Stock, empty_database: str) -> None:
    """A lock, a statement that an operator ended, a server that is away."""
    sql.seconds = 1
    with psycopg.connect(empty_database) as connection:
        connection.execute("lock table orders")
        error = refused(sql, "select * from orders")
    assert not isinstance(error, PermanentError)
    assert "57014" in error.message


def test_a_server_that_is_away_may_come_back(stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has no password."""
    away = f"postgresql://app:{PASSWORD}@127.0.0.1:1/app"
    monkeypatch.setenv("PGFLOW_YAML_SQL_WAREHOUSE", away)

    error = refused(stock, "select 1")

    assert not isinstance(error, PermanentError)
    assert "database warehouse: cannot connect" in error.message
    assert PASSWORD not in error.message


@pytest.mark.parametrize(
    "conninfo",
    [
        f"postgresql://app:{PASSWORD}@127.0.0.1:1/app",
        f"host=127.0.0.1 port=1 password='{PASSWORD}'",
        f"host=127.0.0.1 password={PASSWORD} port=1",
        f"postgresql://app@127.0.0.1:1/app?password={PASSWORD}&sslmode=disable",
    ],
)
def test_passwords_are_masked_everywhere(
    stock: Stock, monkeypatch: pytest.MonkeyPatch, conninfo: str
) -> None:
    """As the secrets of the worker are: another handler may print its environment."""
    monkeypatch.setenv("PGFLOW_YAML_SQL_WAREHOUSE", conninfo)
    refused(stock, "select 1")

    assert PASSWORD not in masks.text(f"{conninfo} {PASSWORD}")


def test_a_password_with_an_ampersand_is_masked_whole(
    stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only in the query of a URL does one end the password."""
    monkeypatch.setenv("PGFLOW_YAML_SQL_WAREHOUSE", "host=127.0.0.1 port=1 password=hazel&walnut7")
    refused(stock, "select 1")

    assert "walnut7" not in masks.text("its password is hazel&walnut7")


@pytest.mark.parametrize("conninfo", [f"{PASSWORD} nonsense", f"host=x {PASSWORD}"])
def test_a_wrong_connection_string_is_not_shown(
    stock: Stock, monkeypatch: pytest.MonkeyPatch, conninfo: str
) -> None:
    """Only that it is wrong."""
    monkeypatch.setenv("PGFLOW_YAML_SQL_WAREHOUSE", conninfo)

    error = refused(stock, "select 1")

    assert isinstance(error, PermanentError)
    assert PASSWORD not in error.message


def test_only_the_worker_names_databases(stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection string is never one; the message says which there are."""
    monkeypatch.setenv("PGFLOW_YAML_SQL_WAREHOUSE", "host=/nowhere")
    for name in ("Warehouse", "postgresql://app@db/app", "host=db", "", "a b", "../x", 7, None):
        with pytest.raises(PermanentError, match="database is a"):
            stock.call("sql", database=name, statement="select 1")
    with pytest.raises(PermanentError, match=r"it has warehouse\): set PGFLOW_YAML_SQL_OTHER"):
        stock.call("sql", database="other", statement="select 1")
    for parameters in ("x", 1, True):
        assert isinstance(refused(stock, "select %s", parameters), PermanentError)


def test_a_cancelled_call_ends_its_statement(sql: Stock, empty_database: str) -> None:
    """The server does not go on with it."""
    handler = Handlers(sql.folder, ["pgflow_yaml.handlers.sql"]).get("pgflow_yaml.handlers.sql")
    ctx = Context(sql.attempt, run_input=lambda: None, beat=lambda: None, timeout=60)
    with_ = {"database": "warehouse", "statement": "select pg_sleep(60) as slept"}

    def running() -> bool:
        query = "select from pg_stat_activity where state = 'active' and query like 'select pg_s%'"
        with psycopg.connect(empty_database) as connection:
            return connection.execute(query).fetchone() is not None

    async def cancelled() -> None:
        call: Any = asyncio.ensure_future(cast("Any", invoke(handler, with_, ctx, named=True)))
        await asyncio.to_thread(lambda: eventually(running))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancelled())

    eventually(lambda: not running(), what="the statement ends")
