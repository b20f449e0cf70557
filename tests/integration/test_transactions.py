"""Handlers with `tx`: what they write in this database commits with their completion."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgflow_yaml.database.store import Attempt, Links
from tests.engine.driver import Engine, done
from tests.fixtures.pooler import direct
from tests.fixtures.waiting import eventually
from tests.integration.effects import Shop

if TYPE_CHECKING:
    from tests.fixtures.working import Works


@pytest.fixture
def shop(works: Works, db: psycopg.Connection) -> Shop:
    """A shop without effects."""
    return Shop(works, db)


@pytest.mark.parametrize("handler", ["put", "aput"])
def test_what_a_handler_writes_commits_with_its_completion(shop: Shop, handler: str) -> None:
    """A row for each task, and the outputs are stored as those of other handlers are."""
    run = shop.run(handler, list(range(20)))

    assert run.output == {"go": list(range(20))}
    assert [index for index, _ in shop.effects] == list(range(20))
    assert shop.effects == shop.completed


@pytest.mark.parametrize("handler", ["once_more", "aonce_more"])
def test_a_failed_attempt_leaves_nothing(shop: Shop, handler: str) -> None:
    """Its rows are rolled back; those of the attempt that succeeds stay."""
    run = shop.run(handler, more=", retry: {max_attempts: 2, base_delay: 0s}")

    assert run.output == {"go": [2]}
    assert shop.effects == shop.completed == [(0, 2)]


def test_each_round_of_repeat_commits(shop: Shop) -> None:
    """Three rounds, three rows."""
    more = ", repeat: {until: iteration == 2, every: 1ms, max: 5}"
    run = shop.run("round_", more=more)

    assert run.status == "completed", run.error
    assert shop.effects == [(0, 1), (0, 2), (0, 3)]


@pytest.mark.parametrize(
    ("until", "type_", "rounds"),
    [("iteration == 9", "RepeatExhausted", 2), ("output / 0 == 1", "ExpressionError", 1)],
)
def test_a_repeat_that_fails_keeps_the_effects_of_its_calls(
    shop: Shop, until: str, type_: str, rounds: int
) -> None:
    """Each call has returned: no round is undone, and none is called again."""
    run = shop.run("round_", more=f", repeat: {{until: {until}, every: 1ms, max: 2}}")

    assert shop.error(run)[0] == type_
    assert [index for index, _ in shop.effects] == [0] * rounds


@pytest.mark.parametrize(
    ("handler", "type_", "message"),
    [
        ("no_json", "UnserialisableOutput", "set is not JSON"),
        ("ends_it", "TransactionEnded", "the handler ended the transaction `tx` itself"),
        ("commits_it", "ProgrammingError", "Explicit commit() forbidden"),
        ("swallows", "TransactionEnded", "with tx.transaction()"),
        ("deferred", "ForeignKeyViolation", "violates foreign key"),
        ("positional", "PermanentError", "only after a `*`"),
        ("wrong_kind", "PermanentError", "`psycopg.Connection`"),
    ],
)
def test_what_cannot_commit_fails_with_a_sentence(
    shop: Shop, handler: str, type_: str, message: str
) -> None:
    """Nothing of it remains, and the reason is the error of the task."""
    found, said = shop.error(shop.run(handler, more=", retry: 1"))

    assert (found, message in said) == (type_, True), (found, said)
    assert shop.effects == []
    assert shop.db.execute("select count(*) from parts").fetchone() == (0,)


def test_a_handler_may_contain_an_error(shop: Shop) -> None:
    """A savepoint of its own keeps the transaction sound."""
    assert shop.run("contains").output == {"go": ["went on"]}
    assert shop.effects == shop.completed


def test_a_parameter_that_is_not_keyword_only_is_an_ordinary_one(shop: Shop) -> None:
    """Files from before have no transaction."""
    assert shop.run("as_data", ["x"]).output == {"go": [["x", "mine"]]}


@direct
def test_settings_of_one_handler_hinder_neither_its_completion_nor_others(
    shop: Shop, works: Works
) -> None:
    """Limits, roles, search_path and row factories end with the call."""
    first = shop.start("limits")
    worker = works.start(concurrency=1)
    works.ended(first)
    second = shop.start("settings")

    output: Any = works.ended(first).output
    expected = {"go": [['"$user", public', *output["go"], None, 0]]}
    assert works.ended(second).output == expected, "the same connection, as new"
    worker.stop()


@pytest.mark.parametrize(("ends_it", "pid"), [("leaves_it", "pid"), ("aleaves_it", "apid")])
def test_a_connection_whose_handler_ended_its_transaction_is_closed(
    shop: Shop, works: Works, ends_it: str, pid: str
) -> None:
    """No other attempt gets it; the driver takes it for one that is still in use."""
    first = shop.start(ends_it, more=", retry: 1")
    worker = works.start(concurrency=1)
    assert shop.error(works.ended(first))[0] == "TransactionEnded"
    second = works.ended(shop.start(pid, more=", retry: 1"))
    worker.stop()

    ((left, _),) = shop.effects
    assert second.status == "completed", second.error
    assert second.output != {"go": [left]}


def test_the_isolation_level_is_read_committed(works: Works) -> None:
    """Whatever the default of the database is: what waits for a lock sees what was committed."""
    serializable = "-c default_transaction_isolation=serializable"
    links = Links(make_conninfo(works.database, options=serializable))
    attempt = Attempt(worker="w", run_id="0" * 32, label="go", fence=1, seconds=9.0)
    query = "select current_setting('transaction_isolation')"
    levels = []
    for _ in range(2):  # a new connection, and the same one again
        transaction = links.transaction(attempt)
        transaction.begin()
        levels.append(transaction.connection.execute(query).fetchone())
        transaction.end()

    async def level() -> object:
        transaction = links.async_transaction(attempt)
        await transaction.begin()
        cursor = await transaction.connection.execute(query)
        row = await cursor.fetchone()
        await transaction.end()
        return row

    assert [*levels, asyncio.run(level())] == [("read committed",)] * 3
    links.close()


def test_a_begin_that_is_interrupted_closes_its_connection(works: Works) -> None:
    """By what is no error of the driver: a cancelled coroutine, a signal."""
    pids: list[int] = []

    def interrupted() -> list[Any]:
        pids.append(transaction.connection.info.backend_pid)
        raise KeyboardInterrupt

    links = Links(works.database, more=interrupted)
    attempt = Attempt(worker="w", run_id="0" * 32, label="go", fence=1, seconds=9.0)
    for _ in range(2):
        transaction = links.transaction(attempt)
        with pytest.raises(KeyboardInterrupt):
            transaction.begin()
        transaction.end()

    assert len(set(pids)) == 2
    links.close()


def test_the_duration_of_a_step_is_that_of_its_handler(shop: Shop, works: Works) -> None:
    """Not of its transaction, which begins with it: both ends are times of statements."""
    run_id = shop.start("waits")
    works.start()
    eventually(lambda: open_transactions(shop.db) == 1, what="the handler runs")
    begun = shop.db.execute("select clock_timestamp()").fetchone()
    (works.app.folder / "gate").touch()
    works.ended(run_id)

    assert begun is not None
    row = shop.db.execute(
        "select completed_at > %s from pgflow.step_tasks where run_id = %s", [begun[0], run_id]
    ).fetchone()
    assert row == (True,)


@pytest.mark.parametrize("handler", ["sleeps", "asleeps"])
def test_a_timeout_ends_the_statement_too(shop: Shop, works: Works, handler: str) -> None:
    """The server works on it no longer, and its rows are gone."""
    run_id = shop.start(handler, more=", timeout: 300ms, retry: 1")
    works.start()

    run = works.ended(run_id)

    assert run.error is not None
    assert run.error["type"] == "Timeout"
    eventually(lambda: open_transactions(shop.db) == 0, what="the server has ended it")
    assert shop.effects == []


@direct
@pytest.mark.parametrize("handler", ["sleeps", "asleeps"])
def test_a_cancelled_run_cuts_its_transactions(shop: Shop, works: Works, handler: str) -> None:
    """Long before the statement would have ended."""
    run_id = shop.start(handler)
    works.start(lease_seconds=1.0)
    eventually(lambda: open_transactions(shop.db) == 1, what="the handler runs")

    works.client.cancel(run_id)

    assert works.ended(run_id).status == "cancelled"
    eventually(lambda: open_transactions(shop.db) == 0, what="the server has ended it")
    assert shop.effects == []


def test_a_broken_event_loop_leaves_no_transaction(shop: Shop, works: Works) -> None:
    """Even if something keeps its coroutine, which will never go on."""
    run_id = shop.start("breaks_loop", more=", retry: 1")
    works.start()

    assert shop.error(works.ended(run_id))[0] == "EventLoopEnded"
    eventually(lambda: open_transactions(shop.db) == 0, what="the server has ended it")
    assert shop.effects == []

    works.close()
    sys.modules["shop"].calls.clear()
    gc.collect()  # asyncio complains about forgotten tasks here, not in another test


def test_a_broken_connection_is_no_fault_of_the_handler(shop: Shop) -> None:
    """The attempts are given back and do not count; the third one commits."""
    run = shop.run("loses", more=", retry: 1")

    assert run.output == {"go": [1]}
    assert shop.effects == shop.completed == [(0, 3)]


def test_a_run_that_an_open_transaction_holds_is_waited_for(shop: Shop, works: Works) -> None:
    """The settle tries again until the run is free; the handler is called once."""
    run_id = shop.start("put")
    with psycopg.connect(works.database) as application:
        application.execute("select 1 from pgflow.runs for no key update")
        works.start()
        waits = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' "
            "and application_name like 'pgflow-yaml tx %'"
        )
        for _ in range(2):  # and has waited before
            eventually(lambda: shop.db.execute(waits).fetchone() == (1,), what="it waits")
            eventually(lambda: shop.db.execute(waits).fetchone() == (0,), what="it tries again")
    assert works.ended(run_id).status == "completed"
    assert shop.effects == shop.completed == [(0, 1)]


def test_a_late_completion_is_rolled_back(shop: Shop, works: Works) -> None:
    """Another worker has the task; this one has not heard of it when its handler returns."""
    run_id = shop.start("waits")
    works.start(lease_seconds=60.0)
    eventually(lambda: open_transactions(shop.db) == 1, what="the handler runs")
    owner = Engine(shop.db)
    shop.db.execute("update pgflow.step_tasks set lease = clock_timestamp() - interval '1 s'")
    shop.db.execute("update pgmq.q_charge set vt = clock_timestamp() - interval '2 s'")
    (task,) = eventually(lambda: owner.claim("charge", lease="1 s"), what="it is taken over")
    (works.app.folder / "gate").touch()

    eventually(lambda: open_transactions(shop.db) == 0, what="the late one ends")
    assert owner.report(done(task, "owner")) == ["applied"]
    assert works.ended(run_id).output == {"go": ["owner"]}
    assert shop.effects == []


def open_transactions(db: psycopg.Connection) -> int:
    row = db.execute(
        "select count(*) from pg_stat_activity where xact_start is not null "
        "and datname = current_database() and application_name like 'pgflow-yaml tx %'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_connections_are_closed_after_their_worker(shop: Shop) -> None:
    """None is left, although they serve one attempt after another."""
    shop.run("put", list(range(30)))

    query = (
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and application_name like 'pgflow-yaml tx%'"
    )
    # A process of the server ends a moment after its connection.
    eventually(lambda: shop.db.execute(query).fetchone() == (0,), what="all are closed")


def test_a_connection_is_cut_although_no_thread_can_start(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the cancel of its statement needs a thread."""
    links = Links(works.database)
    transaction = links.transaction(
        Attempt(worker="w", run_id="0" * 32, label="go", fence=1, seconds=9.0)
    )
    transaction.begin()
    with monkeypatch.context() as patch:

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        transaction.cut()

    with pytest.raises(psycopg.OperationalError):
        transaction.connection.execute("select 1")
    transaction.end()
