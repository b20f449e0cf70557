"""What `doctor` says of the server: transactions, vacuum, size, settings, clocks."""

from __future__ import annotations

import time

import psycopg
import pytest

from pgflow_yaml.database import health
from tests.engine.driver import a_step
from tests.fixtures.waiting import eventually
from tests.integration.patient import Patient, messages


@pytest.fixture
def patient(database: str, db: psycopg.Connection) -> Patient:
    """A fresh database."""
    return Patient(database, db)


def test_old_transactions_are_named_with_the_statement_that_ends_them(patient: Patient) -> None:
    """Of sessions and prepared ones; not those that hold nothing back."""
    with psycopg.connect(patient.conninfo, application_name="psql") as other:
        other.execute("select 1")
        idle = patient.check("transactions", transaction=0)
        other.execute("create table public.t (a int)")
        young = patient.check("transactions")
        warned = patient.check("transactions", transaction=0)
        long = patient.check("transactions", transaction=0, long_transaction=0)

        assert (idle.status, idle.summary) == ("ok", "no open transaction")
        assert young.status == "ok"
        assert young.summary.startswith("the oldest is ")
        ((message, fix),) = messages(warned)
        pid = other.info.backend_pid
        assert message.startswith(
            f'the transaction of process {pid}, idle in transaction of "pgflow" (psql) is '
        )
        assert message.endswith(" old and holds back vacuum")
        assert fix == f"select pg_terminate_backend({pid})"
        assert (warned.status, long.status) == ("warning", "problem")


def test_transactions_of_handlers_are_counted(patient: Patient) -> None:
    """Those that are open; their connections that wait for another handler are not."""
    with (
        psycopg.connect(patient.conninfo, application_name="pgflow-yaml tx 1-2#1 a") as other,
        psycopg.connect(patient.conninfo, application_name="pgflow-yaml tx"),
    ):
        other.execute("select 1")

        found = patient.check("transactions")

    assert found.summary == "no open transaction, 1 transaction of handlers (tx)"


def test_dead_rows_are_named_with_the_command(patient: Patient) -> None:
    """Above a number and a share; autovacuum that is off for a table as well."""
    patient.db.execute("select pgmq.create('bloat')")
    well = patient.check("vacuum")
    with psycopg.connect(patient.conninfo) as other:  # at its end it reports what it did
        other.execute("""insert into pgmq.q_bloat (vt, message)
            select now(), '{}' from generate_series(1, 100)""")
        other.execute("delete from pgmq.q_bloat where msg_id <= 60")
        other.execute("alter table pgmq.q_bloat set (autovacuum_enabled = false)")

    ill = eventually(
        lambda: (found := patient.check("vacuum", dead_rows=50)).findings[1:] and found
    )

    assert well.status == "ok"
    assert isinstance(ill, health.Check)
    assert messages(ill) == [
        ("pgmq.q_bloat has 60 dead rows (60%), never vacuumed", "vacuum pgmq.q_bloat"),
        (
            "autovacuum is turned off for pgmq.q_bloat",
            "alter table pgmq.q_bloat reset (autovacuum_enabled)",
        ),
    ]
    assert [each.message for each in patient.check("vacuum").findings] == [
        "autovacuum is turned off for pgmq.q_bloat"
    ]


def test_much_old_history_is_a_warning(patient: Patient) -> None:
    """Both large and old."""
    engine = patient.engine()
    engine.deploy("flow", {"a": a_step()})
    engine.call("cancel_run", engine.start("flow"))
    patient.db.execute("""update pgflow.runs set started_at = now() - interval '100 d',
        cancelled_at = now() - interval '100 d'""")

    well = patient.check("size")
    ill = patient.check("size", size=1000)

    assert well.status == "ok"
    assert well.summary.endswith("; the oldest run ended 100 d ago")
    assert ill.status == "warning"
    assert ill.findings[0].message.startswith("the tables take ")
    assert patient.check("size", size=1000, history=1e9).status == "ok"


def test_settings_that_lose_data_are_problems(patient: Patient) -> None:
    """The server of the tests has them, and a user of it commits without waiting."""
    login = "pgflow"
    patient.db.execute(f"alter role {login} set synchronous_commit = off".encode())
    try:
        ill = patient.check("settings")
    finally:
        patient.db.execute(f"alter role {login} reset synchronous_commit".encode())

    found = {finding.message.partition(":")[0]: finding for finding in ill.findings}
    assert {name: finding.severity for name, finding in found.items()} == {
        "fsync is off": "problem",
        "full_page_writes is off": "problem",
        "autovacuum is off": "warning",
        "synchronous_commit is off": "warning",
    }
    assert found["fsync is off"].fix == "alter system set fsync = on; select pg_reload_conf()"


def test_more_workers_than_connections_are_a_warning(patient: Patient) -> None:
    """Five for each."""
    patient.db.execute("""insert into pgflow.workers (worker_id, queue_name, function_name)
        select gen_random_uuid(), '*', 'x' from generate_series(1, 40)""")

    found = [finding.message for finding in patient.check("settings").findings]

    assert found[-1].startswith("40 workers may need 200 connections, the server allows ")


def test_clocks_that_differ_are_a_warning(patient: Patient) -> None:
    """In either direction."""
    well = patient.check("clocks")
    behind = patient.check("clocks", now=lambda: time.time() + 60)
    ahead = patient.check("clocks", now=lambda: time.time() - 3600)

    assert well.status == "ok"
    assert messages(behind)[0][0] == "the clock of the server is 60 s behind that of this machine"
    assert (
        messages(ahead)[0][0] == "the clock of the server is 60 min ahead of that of this machine"
    )
