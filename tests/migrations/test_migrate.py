"""Installing and updating the schema."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml.database import migrate
from pgflow_yaml.errors import PgflowError, SchemaMismatch, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUE = "functions/engine/10_queue.sql"
APPLY = (
    "import sys; from pgflow_yaml.database import migrate; print(len(migrate.apply(sys.argv[1])))"
)


def names() -> list[str]:
    """The files as they lie in the package, in the order of their application."""
    top = files("pgflow_yaml") / "migrations"
    folders = ["", *(f"functions/{name}" for name in ("expressions/", "engine/", "pgflow/", ""))]
    return [
        folder + name
        for folder in folders
        for name in sorted(file.name for file in (top / folder).iterdir())
        if name.endswith(".sql")
    ]


def test_an_empty_database_gets_everything_in_order(empty_database: str) -> None:
    """Numbered files come first, then the functions folder by folder, each by name."""
    assert migrate.pending(empty_database) == names()

    assert migrate.apply(empty_database) == names()

    migrate.check(empty_database)


def test_applying_twice_changes_nothing(database: str, db: psycopg.Connection) -> None:
    """The second time nothing is run and nothing is written."""
    before = db.execute("select * from pgflow.migrations order by name").fetchall()

    assert migrate.apply(database) == []

    assert db.execute("select * from pgflow.migrations order by name").fetchall() == before
    assert {migration.state for migration in migrate.status(database)} == {"applied"}


def test_eight_processes_at_once_all_succeed(empty_database: str) -> None:
    """One of them does the work, the others find it done."""
    command = [sys.executable, "-c", APPLY, empty_database]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]

    ended = [process.communicate() for process in started]

    assert [errors for _, errors in ended if errors] == []
    assert sorted(int(applied) for applied, _ in ended) == [0] * 7 + [len(names())]


def test_a_changed_function_is_applied_again(database: str, db: psycopg.Connection) -> None:
    """A function file counts as changed when its text differs from what was applied."""
    db.execute("update pgflow.migrations set sha256 = 'old' where name = %s", [QUEUE])
    with pytest.raises(SchemaMismatch, match=r"functions/engine/10_queue\.sql to apply.*migrate"):
        migrate.check(database)

    assert migrate.apply(database) == [QUEUE, "functions/98_planner.sql", "functions/99_grants.sql"]

    migrate.check(database)


def test_an_edited_numbered_file_is_refused(database: str, db: psycopg.Connection) -> None:
    """What was applied once stays as it is; the sentence says where the change belongs."""
    db.execute(
        "update pgflow.migrations set sha256 = 'old', release = '0.0.9'"
        " where name = '0001_tables.sql'"
    )

    with pytest.raises(SchemaMismatch, match=r"0001_tables\.sql was edited .* numbered one"):
        migrate.apply(database)


@pytest.mark.parametrize(
    "change",
    [
        "insert into pgflow.migrations (name, sha256, release) values ('9999_new.sql', 'x', '0.1')",
        "update pgflow.migrations set sha256 = 'x', release = '99.1.0' where name like '%/10_q%'",
    ],
    ids=["numbered file", "function"],
)
def test_a_database_newer_than_the_program_is_refused(
    database: str, db: psycopg.Connection, change: str
) -> None:
    """An old release never puts its functions over those of a newer one."""
    db.execute(change.encode())

    for refuses in (migrate.check, migrate.apply, migrate.status):
        with pytest.raises(SchemaMismatch, match="newer than this release"):
            refuses(database)


def test_a_real_pgflow_is_left_alone(empty_database: str) -> None:
    """Tables of pgflow that we did not make are recognised, and nothing is written beside them."""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("create schema pgflow")
        connection.execute("create table pgflow.flows (flow_slug text)")

        with pytest.raises(SchemaMismatch, match="this program did not make"):
            migrate.apply(empty_database)

        found = connection.execute(
            "select to_regclass('pgflow.migrations'), to_regnamespace('pgmq')"
        ).fetchone()
    assert found == (None, None)


def test_pgmq_that_is_there_already_is_used(empty_database: str) -> None:
    """A pgmq installed by its SQL keeps its queues."""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        pgmq = migrate.dry_run_sql().split("-- pgmq\n")[1].split("-- 0001")[0]
        connection.execute(pgmq.encode())
        connection.execute("select pgmq.create('theirs')")

        migrate.apply(empty_database)

        queues = connection.execute("select queue_name from pgmq.meta order by 1").fetchall()
        assert queues == [("pgflow__timers",), ("theirs",)]


@pytest.mark.parametrize("known", [True, False], ids=["for this database", "for any"])
def test_a_dry_run_prints_what_apply_would_run(empty_database: str, *, known: bool) -> None:
    """Its text, run by hand, leaves nothing to do; printing it writes nothing."""
    text = migrate.dry_run_sql(empty_database if known else None)
    assert migrate.pending(empty_database) == names()

    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(text.encode())

    assert migrate.pending(empty_database) == []
    assert migrate.dry_run_sql(empty_database) == "-- nothing to do\n"


def test_a_search_path_of_the_database_does_not_matter(empty_database: str) -> None:
    """Every name in the files is qualified."""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        (name,) = connection.execute("select current_database()").fetchone() or ("",)
        connection.execute(f"alter database {name} set search_path = nowhere".encode())

    assert migrate.apply(empty_database) == names()


def test_a_session_that_only_reads_is_told_so(empty_database: str) -> None:
    """A standby or a read-only session is no place for migrations."""
    with pytest.raises(Unavailable, match="only reads"):
        migrate.apply(f"{empty_database} options='-c default_transaction_read_only=on'")


@pytest.mark.parametrize(
    "conninfo", ["host=/nowhere connect_timeout=1", "host=127.0.0.1 port=1", "no conninfo"]
)
def test_an_unreachable_database_is_one_sentence(conninfo: str) -> None:
    """Whatever is wrong with the connection, the message is one line without a traceback."""
    for asks in (migrate.apply, migrate.check):
        with pytest.raises(Unavailable, match=r"^cannot connect to the database: [^\n]+$"):
            asks(conninfo)


@pytest.mark.parametrize("fails", ["select 1/0;", "selec 1;"])
def test_a_file_that_fails_is_named_and_undone(
    empty_database: str, changed_package: Callable[[str], str], fails: str
) -> None:
    """The error says which file, and the database is as it was."""
    code = (
        "import sys\nfrom pgflow_yaml.database import migrate\n"
        "from pgflow_yaml.errors import PgflowError\n"
        "try: migrate.apply(sys.argv[1])\nexcept PgflowError as error: print(error)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, empty_database],
        cwd=changed_package(fails),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith("9000_changed.sql could not be applied: ")
    assert done.stdout.endswith("(nothing was changed)\n")
    assert migrate.pending(empty_database) == names()


def test_the_errors_of_migrate_are_ours(empty_database: str) -> None:
    """A database without any of our tables is a mismatch for everybody but `apply`."""
    with pytest.raises(PgflowError, match=r"not up to date with this release \(\d+ files"):
        migrate.check(empty_database)
