"""The checks of `doctor`, each in its good state and in bad ones made by hand."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from pgflow_yaml.client import Client
from pgflow_yaml.database import health, migrate
from pgflow_yaml.database.health import Limits
from pgflow_yaml.database.health.inspector import Inspector
from tests.engine.driver import Engine, a_child, a_step, a_wait
from tests.integration.patient import Patient, messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.pg import CrashableServer


@pytest.fixture
def patient(database: str, db: psycopg.Connection) -> Patient:
    """A fresh database."""
    return Patient(database, db)


def test_a_fresh_database_is_well(crashable: CrashableServer) -> None:
    """On a durable server, every check passes and has something to say."""
    report = health.examine(crashable.conninfo())

    assert (report.status, report.usable, report.repairs) == ("ok", True, [])
    assert [check.check for check in report.checks] == ["versions", *health.CHECKS]
    assert all(check.summary and not check.findings for check in report.checks)
    summaries = {check.check: check.summary for check in report.checks}
    assert summaries["versions"].startswith("PostgreSQL ")
    assert summaries["versions"].endswith(", schema current")
    assert summaries["invariants"] == "no violations in 0 runs"


def test_tables_of_another_release_are_named_with_the_command(patient: Patient) -> None:
    """Pending files: a problem that `--fix` mends."""
    patient.db.execute("""update pgflow.migrations set sha256 = 'older'
        where name = 'functions/engine/93_views.sql'""")

    report = health.examine(patient.conninfo)
    first = report.checks[0]

    assert (first.status, report.usable, report.repairs) == ("problem", True, ["migrate"])
    assert messages(first)[0][1] == "pgflow-yaml migrate"
    assert "functions/engine/93_views.sql to apply" in messages(first)[0][0]
    with Client(patient.conninfo) as client:
        (done,) = client.repair(report)
    assert done.startswith("updated the database: ")
    assert health.examine(patient.conninfo).checks[0].status == "ok"


def test_a_database_without_tables_is_not_usable(empty_database: str) -> None:
    """The server is checked all the same; `--fix` installs the tables."""
    report = health.examine(empty_database, secure=True)

    assert (report.usable, report.repairs) == (False, ["migrate"])
    names = [check.check for check in report.checks]
    assert names == ["versions", "transactions", "vacuum", "clocks", "passwords"]
    assert report.checks[0].findings[0].message.startswith("the database does not have the tables")
    with Client(empty_database) as client:
        client.repair(report)
    assert health.examine(empty_database).usable


def test_tables_of_a_newer_release_are_left_alone(patient: Patient) -> None:
    """There is nothing to mend for this release."""
    patient.db.execute("""insert into pgflow.migrations (name, sha256, release)
        values ('9999_new.sql', 'x', '99.0.0')""")

    report = health.examine(patient.conninfo)

    assert (report.usable, report.repairs) == (False, [])
    assert "newer than this release" in report.checks[0].findings[0].message


def test_functions_that_differ_from_the_release_are_named(patient: Patient) -> None:
    """S-23: edited, dropped and added ones; the first two are restored."""
    well = patient.check("functions")
    patient.db.execute("""create or replace function pgflow.clock() returns timestamptz
        language sql as $$ select timestamptz 'epoch' $$""")
    patient.db.execute("drop function pgflow.history()")
    patient.db.execute("create function pgflow.mine(int) returns int language sql as 'select 1'")

    ill = patient.check("functions")

    assert (well.status, well.findings) == ("ok", ())
    assert ill.status == "problem"
    edited, missing, unknown = messages(ill)
    assert edited[0].startswith("1 function (pgflow.clock()) edited: the text is not that of")
    assert missing[0].startswith("1 function (pgflow.history) missing of release")
    assert edited[1] == missing[1] == "pgflow-yaml migrate --again"
    assert unknown == (
        "1 function (pgflow.mine(integer)) of schema pgflow unknown to this release",
        "drop function pgflow.mine(integer)",
    )
    with Client(patient.conninfo) as client:
        (done,) = client.repair(health.examine(patient.conninfo))
    assert done.startswith("restored functions and grants: ")
    patient.db.execute("drop function pgflow.mine")
    assert patient.check("functions").status == "ok"


def test_files_are_applied_again_only_on_demand(database: str) -> None:
    """`migrate --again` runs those of functions and grants, never those of tables."""
    assert migrate.apply(database) == []

    applied = migrate.apply(database, again=True)

    assert "functions/engine/40_turn.sql" in applied
    assert not [name for name in applied if "/" not in name]
    assert migrate.pending(database) == []


def test_violations_are_listed_and_swept(patient: Patient) -> None:
    """The first five by name; a lost message is sent again."""
    engine = patient.engine()
    engine.deploy("flow", {"a": a_step()})
    runs = [engine.start("flow") for _ in range(8)]
    well = patient.check("invariants")
    patient.db.execute("delete from pgmq.q_flow")

    ill = patient.check("invariants")

    assert (well.status, well.summary) == ("ok", "no violations in 8 runs")
    assert (ill.status, len(ill.findings)) == ("problem", 6)
    message, fix = messages(ill)[0]
    assert message.startswith('I2: queue "flow" message ')
    assert message.endswith(": live task without a message")
    assert fix == "pgflow-yaml doctor --fix"
    assert messages(ill)[-1][0] == "3 more violations in 8 runs"
    with Client(patient.conninfo) as client:
        assert client.repair(health.examine(patient.conninfo)) == [
            f"swept the live runs: {len(runs)} repairs"
        ]
    assert patient.check("invariants").status == "ok"


def test_a_violation_of_a_run_names_run_and_step(patient: Patient) -> None:
    """Something that no sweep mends."""
    engine = patient.engine()
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    patient.db.execute("update pgflow.step_states set remaining_tasks = 7")

    assert messages(patient.check("invariants"))[0][0] == (
        f"I3: run {run[:8]} step a: remaining_tasks is 7, 1 are open"
    )


def test_a_busy_database_has_no_violations(patient: Patient) -> None:
    """What workers change while it is checked looks wrong to no check."""
    engine = patient.engine()
    engine.deploy("flow", {"a": a_step(), "b": a_step("a"), "c": a_step("a", "b")})
    over = threading.Event()

    def busy() -> None:
        with psycopg.connect(patient.conninfo, autocommit=True) as connection:
            other = Engine(connection)
            while not over.is_set():
                other.start("flow")
                other.work("flow")

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        found = [patient.check("invariants") for _ in range(10)]
    finally:
        over.set()
        thread.join(10)

    assert [each.findings for each in found] == [()] * 10


def test_a_handler_that_nobody_has_is_named_with_its_runs(patient: Patient) -> None:
    """And how to give up; a handler without a task that waits is no finding."""
    engine = patient.engine()
    engine.deploy("order", {"notify": a_step(handler="shop.notify.slack")})
    run = engine.start("order")
    well = patient.check("handlers")
    engine.claim("order", refused=["shop.notify.slack"])

    ill = patient.check("handlers")

    assert (well.status, well.summary) == ("ok", "every waiting task has a handler")
    ((message, fix),) = messages(ill)
    assert message.startswith(
        'no worker has "shop.notify.slack", for which 1 task of order has waited for '
    )
    assert fix is not None
    assert fix.endswith(f"or pgflow-yaml cancel {run[:8]}")
    engine.call("cancel_run", run)
    assert patient.check("handlers").status == "ok"


def test_queues_without_a_worker_are_problems(patient: Patient) -> None:
    """One finding for all if no worker is alive, else one for each such queue."""
    engine = patient.engine()
    engine.deploy("flow", {"a": a_step(), "b": a_step(queue="gpu")})
    engine.start("flow")
    for queue in ("flow", "gpu"):
        patient.wait(queue, "4 min")
    well = patient.check("queues")
    patient.db.execute("update pgflow.workers set queue_name = 'flow'")
    one = patient.check("queues")
    engine.call("stop_worker", engine.worker)
    none = patient.check("queues")

    assert (well.status, well.summary) == ("ok", "2 tasks visible, 0 leased")
    assert messages(one) == [
        (
            'no worker serves queue "gpu"; 1 task has waited for 4 min',
            "pgflow-yaml worker --queue gpu",
        )
    ]
    assert messages(none) == [
        ("no worker is alive; 2 tasks wait, the oldest for 4 min", "pgflow-yaml worker")
    ]
    assert patient.check("queues", unserved=600).status == "ok"
    patient.db.execute("""insert into pgmq.q_gpu (vt, message)
        select now(), '{}' from generate_series(1, 10001)""")
    assert "; 10,001 tasks or more wait, the oldest " in messages(patient.check("queues"))[0][0]


def test_old_tasks_and_silent_holders_are_warnings(patient: Patient) -> None:
    """The first names the queue, the second the task, its worker, and the end of its lease."""
    engine = patient.engine()
    engine.deploy("flow", {"a": a_step(), "b": a_step()})
    run = engine.start("flow")
    (task,) = engine.claim("flow", quantity=1)
    running = patient.check("queues")
    silent = str(uuid4())
    patient.db.execute(
        """insert into pgflow.workers
             (worker_id, queue_name, function_name, last_heartbeat_at, info)
           values (%s, '*', 'x', now() - interval '3 min', '{"host": "node-3", "pid": 4711}')
        """,
        [silent],
    )
    patient.wait("flow", "12 min")
    patient.db.execute("update pgflow.step_tasks set last_worker_id = %s", [silent])

    ill = patient.check("queues")

    assert running.summary.startswith("1 task visible, 1 leased, the longest for ")
    assert running.summary.endswith(f"({task['step']} of run {run[:8]})")
    assert ill.status == "warning"
    old, held = (message for message, _ in messages(ill))
    assert (
        old == 'the oldest task of queue "flow" has waited for 12 min, although 1 worker serves it'
    )
    assert held.startswith(
        f"{task['step']} of run {run[:8]} is held by worker node-3/4711, last heard from "
        "3 min ago; its lease ends in "
    )


def test_a_dropped_queue_is_made_again(patient: Patient) -> None:
    """`--fix` sends what it held."""
    engine = patient.engine()
    engine.deploy("flow", {"a": a_step()})
    engine.start("flow")
    patient.db.execute("select pgmq.drop_queue('flow')")

    report = health.examine(patient.conninfo)
    queues = next(check for check in report.checks if check.check == "queues")

    assert messages(queues)[0][0] == 'queue "flow" was dropped; what it held is sent again'
    with Client(patient.conninfo) as client:
        client.repair(report)
    assert patient.check("queues").status == "ok"
    assert len(engine.claim("flow")) == 1


def test_a_late_timer_is_a_problem(patient: Patient) -> None:
    """With the reason that can be seen: no worker, or not."""
    engine = patient.engine()
    engine.deploy("flow", {"nap": a_wait(wait={"for": 3_600_000})})
    engine.start("flow")
    well = patient.check("timers")
    patient.db.execute("update pgmq.q_pgflow__timers set vt = now() - interval '40 s'")
    late = patient.check("timers")
    engine.call("stop_worker", engine.worker)
    nobody = patient.check("timers")

    assert (well.status, well.summary) == ("ok", "1 timer to come, none is late")
    assert messages(late)[0][0] == "1 timer late, the first by 40 s, although a worker is alive"
    assert messages(nobody) == [
        ("1 timer late, the first by 40 s, for no worker is alive", "pgflow-yaml worker")
    ]


@pytest.fixture
def locked(patient: Patient) -> Iterator[psycopg.Connection]:
    """Another session that holds the table of runs."""
    with psycopg.connect(patient.conninfo) as other:
        other.execute("lock table pgflow.runs in access exclusive mode")
        yield other


def test_a_check_that_cannot_read_says_so_and_hinders_none(
    patient: Patient, locked: psycopg.Connection
) -> None:
    """The others are made; it is a problem all the same."""
    report = health.examine(patient.conninfo)

    failed = {check.check: check.summary for check in report.checks if check.status == "failed"}
    assert failed.keys() >= {"invariants", "handlers", "size"}
    assert set(failed.values()) == {
        "another session holds a lock on what is to be read (see pg_locks)"
    }
    assert report.status == "problem"
    statuses = {check.check: check.status for check in report.checks}
    assert statuses["versions"] == statuses["functions"] == statuses["clocks"] == "ok"


def test_a_check_that_hangs_is_given_up(patient: Patient) -> None:
    """By the server, or by us where it does not answer any more; the next one is made."""
    slow = "select pg_sleep(30)"
    ask = Inspector(patient.conninfo, Limits(check=0.2))
    try:

        def by_server(inspector: Inspector) -> Any:
            return inspector.rows(slow)

        def by_us(inspector: Inspector) -> Any:
            inspector.connection.execute("set local statement_timeout = 0")
            return inspector.rows(slow)

        begun = time.monotonic()
        first = health._made(ask, "slow", by_server)
        second = health._made(ask, "silent", by_us)
        third = health._made(ask, "clocks", health.CHECKS["clocks"])
        took = time.monotonic() - begun
    finally:
        ask.close()

    assert (first.status, first.summary) == ("failed", "no answer within 0.2 s")
    assert (second.status, second.summary) == ("failed", "no answer within 0.2 s")
    assert third.status == "ok"
    assert took < 15


def test_children_are_checked_as_well(patient: Patient) -> None:
    """A child whose parent has gone on without it."""
    engine = patient.engine()
    engine.deploy("child", {"work": a_step()})
    engine.deploy("parent", {"sub": a_child("child")})
    engine.start("parent")
    engine.claim("nobody")
    well = patient.check("invariants")
    patient.db.execute("update pgflow.runs set status = 'cancelled' where depth = 1")

    assert well.status == "ok"
    assert "I2" in {message[:2] for message, _ in messages(patient.check("invariants"))}


def test_a_check_writes_nothing(patient: Patient) -> None:
    """Whatever a function of the database has become: an assistant that only looks may ask."""

    def writing(inspector: Inspector) -> Any:
        return inspector.rows("create table public.made ()")

    ask = Inspector(patient.conninfo, Limits())
    try:
        written = health._made(ask, "writes", writing)
    finally:
        ask.close()

    assert (written.status, written.summary) == (
        "failed",
        "cannot execute CREATE TABLE in a read-only transaction",
    )
