"""Migrations that are killed, and roles that may not do everything."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from pgflow_yaml.database import migrate
from pgflow_yaml.errors import SchemaMismatch
from tests.fixtures.proxy import Proxy
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgflow_yaml.database.embedded import LocalServer

APPLY = "import sys; from pgflow_yaml.database import migrate; migrate.apply(sys.argv[1])"


@pytest.fixture
def role(server: LocalServer) -> Iterator[str]:
    """A role that may log in and nothing else; dropped after the test's database."""
    name = f"r_{uuid4().hex[:12]}"
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as admin:
        admin.execute(f"create role {name} login".encode())
        yield name
        admin.execute(f"drop role {name}".encode())


def as_role(conninfo: str, role: str) -> str:
    """The same database for another role."""
    return conninfo.replace("user=pgflow", f"user={role}")


def run(conninfo: str, statement: str) -> None:
    """Run a statement as the owner of the server, on this database."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        (name,) = connection.execute("select current_database()").fetchone() or ("",)
        connection.execute(statement.format(database=name).encode())


def test_a_killed_migration_leaves_nothing_and_can_be_repeated(
    empty_database: str, changed_package: Callable[[str], str]
) -> None:
    """Kill -9 while a file runs: all tables are gone with it, and the next try succeeds."""
    process = subprocess.Popen(
        [sys.executable, "-c", APPLY, empty_database],
        cwd=changed_package("select pg_catalog.pg_sleep(60);"),
    )
    with psycopg.connect(empty_database, autocommit=True) as watcher:
        sleeping = (
            "select from pg_stat_activity where wait_event = 'PgSleep' "
            "and datname = current_database()"
        )
        eventually(lambda: watcher.execute(sleeping).fetchone() is not None, what="it sleeps")

        process.kill()
        process.wait()
        watcher.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep' "
            "and datname = current_database()"
        )

        eventually(lambda: watcher.execute(sleeping).fetchone() is None, what="it is gone")
        found = watcher.execute("select to_regnamespace('pgflow'), to_regnamespace('pgmq')")
        assert found.fetchone() == (None, None)
    assert migrate.apply(empty_database)[0] == "0001_tables.sql"


def test_a_check_whose_connection_breaks_is_repeated(database: str) -> None:
    """A worker may look at the tables in the very moment in which the server crashes (R-7)."""
    proxy = Proxy(database)
    proxy.swallow_reply_to(b"pgflow.migrations")

    migrate.check(proxy.conninfo)

    assert proxy.swallowed == 1
    proxy.close()


def test_a_role_that_may_create_schemas_is_enough(role: str, empty_database: str) -> None:
    """Nothing in the files needs a superuser."""
    run(empty_database, f"grant create on database {{database}} to {role}")

    migrate.apply(as_role(empty_database, role))

    migrate.check(as_role(empty_database, role))


def test_the_grant_that_is_missing_is_named(role: str, empty_database: str) -> None:
    """A role without the right to create schemas gets the statement for its owner."""
    with pytest.raises(SchemaMismatch, match=rf'`grant create on database "t_\w+" to "{role}"`'):
        migrate.apply(as_role(empty_database, role))


def test_a_role_that_does_not_own_the_schema_is_told(role: str, database: str) -> None:
    """What may not be read or replaced is said in one sentence, and nothing is changed."""
    with pytest.raises(SchemaMismatch, match=r"permission denied for .*nothing was changed"):
        migrate.apply(as_role(database, role))
    run(database, f"grant usage on schema pgflow to {role}")
    run(database, f"grant select, insert, update on pgflow.migrations to {role}")
    run(
        database,
        "update pgflow.migrations set sha256 = '' where name = 'functions/engine/10_queue.sql'",
    )

    with pytest.raises(
        SchemaMismatch, match=r"10_queue\.sql could not .*role that owns the schema"
    ):
        migrate.apply(as_role(database, role))

    assert migrate.pending(database) == ["functions/engine/10_queue.sql"]
