"""A worker in this process whose database, connection or handlers misbehave."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.database.store import patrol
from tests.fixtures.pooler import direct
from tests.fixtures.proxy import Proxy
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works

MAP = """
flow: wide
input: {{items: {{type: array}}}}
steps:
  go: {{handler: shop.go, map: input.items{more}}}
"""
COUNTED = """
import threading
calls, gate = [], threading.Event()
def go(i, ctx):
    calls.append(i)
    return i
def held(i, ctx):
    calls.append(i)
    gate.wait(20)
    return [i, ctx.fence]
"""
WORKERS = """datname = current_database()
    and (application_name like 'pgflow-yaml worker%' or application_name like '%heartbeat%')"""


def start_map(works: Works, count: int, *, handler: str = "go", more: str = "") -> str:
    works.app.write("shop.py", COUNTED)
    works.deploy(MAP.format(more=more).replace("shop.go", f"shop.{handler}"))
    return works.client.start("wide", {"items": list(range(count))}).id


def started(db: psycopg.Connection) -> int:
    row = db.execute("select count(*) from pgflow.step_tasks where status = 'started'").fetchone()
    assert row is not None
    return int(row[0])


def raise_in_settle(db: psycopg.Connection, sqlstate: str, when: str, *, times: int = 0) -> None:
    """Make updates of tasks fail: always when `when` holds, or the first `times` times."""
    db.execute("create sequence public.faults; grant usage on sequence public.faults to public")
    db.execute(
        f"""
        create function public.fault() returns trigger language plpgsql as $$
        begin
          if {when} and ({times} = 0 or nextval('public.faults') <= {times}) then
            raise exception using errcode = '{sqlstate}', message = 'injected';
          end if;
          return new;
        end $$
        """.encode()
    )
    db.execute(
        "create trigger fault before update on pgflow.step_tasks "
        "for each row execute function public.fault()"
    )


@pytest.mark.parametrize("sqlstate", ["40P01", "40001", "53100", "55P03", "57014"])
def test_a_temporary_error_of_the_database_is_repeated(
    works: Works, db: psycopg.Connection, sqlstate: str
) -> None:
    """The same results are sent again, nothing fails (F15, F16). A sequence is not rolled back."""
    run_id = start_map(works, 20)
    raise_in_settle(db, sqlstate, "new.status = 'completed'", times=2)

    works.start()

    run = works.ended(run_id)
    assert run.output == {"go": list(range(20))}
    assert works.client.run_snapshot(run_id)["errors"] == []


def test_one_bad_result_does_not_hold_up_the_others(works: Works, db: psycopg.Connection) -> None:
    """Halving finds the bad one, which fails alone (engine §4.1)."""
    run_id = start_map(works, 40, more=", when_exhausted: skip")
    raise_in_settle(db, "22000", "new.status = 'completed' and new.task_index = 23")

    works.start()

    assert works.ended(run_id).status == "completed"
    (error,) = works.client.run_snapshot(run_id)["errors"]
    assert (error["index"], error["type"], error["final"]) == (23, "ResultRefused", True)
    assert "injected" in error["message"]


def test_an_output_that_only_the_database_finds_too_large_fails(works: Works) -> None:
    """Its worker counts 56 kB, the database 2.5 MB: the error names the limit."""
    works.app.write("shop.py", "def go(i):\n    return [1e308] * 8_000 if i == 1 else i\n")
    works.deploy(MAP.format(more=", tolerate: 1"))
    run_id = works.client.start("wide", {"items": list(range(5))}).id

    works.start()

    assert works.ended(run_id).status == "completed"
    (error,) = works.client.run_snapshot(run_id)["errors"]
    assert (error["index"], error["type"]) == (1, "ResultRefused")
    assert 'an output of step "go" has more than 2 MiB of JSON' in error["message"]


def test_a_result_that_cannot_even_fail_fails_its_run(works: Works, db: psycopg.Connection) -> None:
    """The last resort; other runs complete, the worker lives (engine §4.1)."""
    bad = start_map(works, 3)
    good = works.client.start("wide", {"items": list(range(3))}).id
    raise_in_settle(
        db,
        "22000",
        f"new.status in ('completed', 'failed') and new.task_index = 1 and new.run_id = '{bad}'",
    )

    works.start()

    assert works.ended(good).status == "completed"
    run = works.ended(bad)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["type"] == "ResultRefused"


def test_cut_connections_are_made_again(works: Works, db: psycopg.Connection) -> None:
    """Handlers that run meanwhile go on, and run once (F6)."""
    run_id = start_map(works, 4, handler="held")
    works.start(concurrency=4, lease_seconds=2)
    eventually(lambda: started(db) == 4)

    import shop  # type: ignore[import-not-found]

    cut = f"select pg_terminate_backend(pid) from pg_stat_activity where {WORKERS}".encode()
    for _ in range(3):
        assert eventually(lambda: db.execute(cut).fetchall())
    shop.gate.set()

    assert works.ended(run_id).output == {"go": [[i, 1] for i in range(4)]}
    assert sorted(shop.calls) == [0, 1, 2, 3]


def test_a_lost_reply_is_asked_for_again(
    works: Works, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The results were committed but the reply was lost: sent again, they change nothing (F3)."""
    proxy = Proxy(works.database)
    run_id = start_map(works, 3)
    proxy.swallow_reply_to(b'"outcome":"completed"')

    works.start(conninfo=proxy.conninfo)

    assert works.ended(run_id).output == {"go": [0, 1, 2]}
    eventually(lambda: "connected to the database again" in caplog.text)
    proxy.close()
    assert proxy.swallowed == 1
    assert "late result refused" not in caplog.text
    assert started(db) == 0
    import shop

    assert sorted(shop.calls) == [0, 1, 2]


def test_a_handler_that_outlives_its_lease_runs_once(works: Works, db: psycopg.Connection) -> None:
    """The heartbeat extends the lease for as long as the handler runs (F10)."""
    run_id = start_map(works, 1, handler="held")
    works.start(lease_seconds=1)
    works.start(lease_seconds=1)
    eventually(lambda: started(db) == 1)
    row = db.execute("select lease from pgflow.step_tasks").fetchone()
    assert row is not None

    def leases_later() -> bool:
        now = db.execute(
            "select min(lease) > %s + interval '1.5 s' from pgflow.step_tasks", row
        ).fetchone()
        return bool(now and now[0])

    eventually(leases_later)
    import shop

    shop.gate.set()

    assert works.ended(run_id).output == {"go": [[0, 1]]}
    assert shop.calls == [0]


def test_a_task_that_comes_again_is_adopted(works: Works, db: psycopg.Connection) -> None:
    """A message delivered again to the worker that runs its task: one call, a new attempt (F11)."""
    run_id = start_map(works, 1, handler="held")
    worker = works.start(lease_seconds=30)
    eventually(lambda: started(db) == 1)
    # The beat that a first claim asks for has come: no other extends the lease for ten seconds.
    beat = """
        select last_heartbeat_at > (select max(started_at) from pgflow.step_tasks)
        from pgflow.workers"""
    eventually(lambda: db.execute(beat.encode()).fetchone() == (True,))

    db.execute("update pgmq.q_wide set vt = now()")
    attempts = "select attempts_count, crashes_count from pgflow.step_tasks"
    eventually(lambda: db.execute(attempts).fetchone() == (2, 0))
    eventually(lambda: [task.fence for task in worker._leases.held.values()] == [2])
    import shop

    shop.gate.set()

    assert works.ended(run_id).output == {"go": [[0, 2]]}
    assert shop.calls == [0]


def test_a_worker_waits_for_its_handlers_no_longer_than_its_grace(
    works: Works, db: psycopg.Connection
) -> None:
    """Running tasks are given back, their attempts not counted; exit code 0 (R-14, F13)."""
    run_id = start_map(works, 2, handler="held")
    worker = works.worker(grace_seconds=0.2)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(worker.run()))
    thread.start()
    eventually(lambda: started(db) == 2)

    worker.stop()
    thread.join(3 * 5)

    import shop

    shop.gate.set()
    assert codes == [0]
    step = works.client.get(run_id).steps[0]
    assert (step.tasks["queued"], step.attempts, step.crashes) == (2, 0, 0)


@direct
def test_a_frozen_backend_is_cut_off(
    works: Works, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement without an answer ends although the server still holds the connection (R-7)."""
    monkeypatch.setattr(patrol, "QUIET_SECONDS", 0.5)
    run_id = start_map(works, 10)
    works.start()
    works.ended(run_id)
    pids = [
        pid
        for (pid,) in db.execute(
            """select pid from pg_stat_activity
            where datname = current_database() and application_name like 'pgflow-yaml worker%'"""
        ).fetchall()
    ]
    (frozen,) = pids
    os.kill(frozen, signal.SIGSTOP)
    try:
        again = works.client.start("wide", {"items": [1, 2, 3]}).id

        assert works.ended(again).output == {"go": [1, 2, 3]}
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_a_worker_holds_what_it_can_start_soon(works: Works, db: psycopg.Connection) -> None:
    """Slow handlers: not more than start within a quarter of the lease (R-15)."""
    works.app.write("shop.py", "import time\ndef go(i):\n    time.sleep(0.02)\n    return i\n")
    works.deploy(MAP.format(more=""))
    run_id = works.client.start("wide", {"items": list(range(400))}).id
    works.start(concurrency=4, lease_seconds=1)
    most = 0

    def ended() -> bool:
        nonlocal most
        most = max(most, started(db))
        return works.client.get(run_id).ended

    eventually(ended)

    could_start = 4 + 0.25 * 4 / 0.02
    assert 4 <= most <= could_start


def test_tasks_behind_slow_ones_are_given_back(works: Works, db: psycopg.Connection) -> None:
    """Handlers that turn slow: queued tasks go to others, no attempt is used (R-15)."""
    works.app.write(
        "shop.py",
        """
        import threading
        gate = threading.Event()
        def go(i):
            if i >= 300:
                gate.wait(20)
            return i
        """,
    )
    works.deploy(MAP.format(more=""))
    run_id = works.client.start("wide", {"items": list(range(900))}).id
    works.start(concurrency=2, lease_seconds=1)
    eventually(lambda: works.client.get(run_id).steps[0].tasks["completed"] >= 300)

    eventually(lambda: started(db) <= 4, what="the rest is given back")

    import shop

    shop.gate.set()
    run = works.ended(run_id)
    assert run.output == {"go": list(range(900))}
    assert run.steps[0].attempts == 1


@pytest.mark.parametrize("sqlstate", ["40001", "53100", "55P03", "57014", "42501"])
def test_a_result_that_cannot_be_settled_now_waits_apart(
    works: Works, db: psycopg.Connection, sqlstate: str
) -> None:
    """The other results and runs go on, it is not replaced by a failure, and settles later."""
    bad = start_map(works, 5)
    good = works.client.start("wide", {"items": list(range(20))}).id
    raise_in_settle(
        db, sqlstate, f"new.status = 'completed' and new.task_index = 1 and new.run_id = '{bad}'"
    )
    works.start()

    assert works.ended(good).status == "completed"
    eventually(lambda: works.client.get(bad).steps[0].tasks["completed"] == 4)
    assert works.client.get(bad).status == "started"
    db.execute("drop trigger fault on pgflow.step_tasks")

    assert works.ended(bad).output == {"go": list(range(5))}
    assert works.client.run_snapshot(bad)["errors"] == []


def test_a_result_that_never_settles_does_not_keep_a_worker(
    works: Works, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """A stopping worker leaves it to its lease (R-14)."""
    start_map(works, 1)
    raise_in_settle(db, "40001", "new.status = 'completed'")
    worker = works.worker(grace_seconds=0.2)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    eventually(lambda: "waits apart" in caplog.text)

    worker.stop()
    thread.join(3 * 5)

    assert not thread.is_alive()


def test_a_worker_gives_back_what_it_owns_and_does_not_hold(
    works: Works, db: psycopg.Connection
) -> None:
    """As after a claim whose reply was lost; what it holds stays."""
    run_id = start_map(works, 2, handler="held")
    works.start(lease_seconds=60, notify=False, concurrency=3)
    eventually(lambda: started(db) == 2)
    import shop

    eventually(lambda: len(shop.calls) == 2)
    lost = works.client.start("wide", {"items": [7]}).id
    db.execute(
        """with mine as (select last_worker_id from pgflow.step_tasks
             where last_worker_id is not null limit 1)
        update pgflow.step_tasks t set status = 'started', attempts_count = 1,
          lease = now() + interval '1 hour', started_at = clock_timestamp(),
          last_worker_id = mine.last_worker_id
        from mine where t.run_id = %s""",
        [lost],
    )
    db.execute(
        "update pgmq.q_wide set vt = now() + interval '1 hour' where msg_id in"
        " (select message_id from pgflow.step_tasks where run_id = %s)",
        [lost],
    )

    cut = f"select pg_terminate_backend(pid) from pg_stat_activity where {WORKERS}".encode()
    db.execute(cut)

    eventually(lambda: 7 in shop.calls)
    shop.gate.set()
    step = works.ended(lost).steps[0]
    assert (step.status, step.crashes) == ("completed", 0)
    assert works.ended(run_id).status == "completed"
    assert sorted(shop.calls) == [0, 1, 7]
