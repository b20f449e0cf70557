"""Timers go on while every slot is busy, and an idle worker is there when one is due."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.database.store import patrol
from pgflow_yaml.worker import upkeep, worker
from tests.fixtures.pooler import direct
from tests.fixtures.proxy import Proxy
from tests.fixtures.waiting import at_rest, eventually
from tests.integration.test_wake_ups import HALF_A_MINUTE

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works

HOUSE = """
import threading
gate, began = threading.Event(), threading.Event()
def stay(ctx):
    began.set()
    while not gate.wait(0.02) and not ctx.cancelled:
        pass
    return "stayed"
def again(ctx):
    if ctx.attempt == 1:
        raise ValueError("once")
    return ctx.attempt
"""
STAY = "flow: stay\nsteps:\n  go: {handler: shop.stay}\n"
NAP = "flow: nap\nsteps:\n  pause: {wait: {for: 300ms}}\n"
PARENT = "flow: parent\nsteps:\n  child: {flow: nap}\n"
SHORT = "flow: short\ntimeout: 300ms\nsteps:\n  ask: {wait: {event: never}}\n"
AGAIN = "flow: again\nsteps:\n  go: {handler: shop.again, retry: {base_delay: 300ms}}\n"
CONNECTIONS = """select count(*) from pg_stat_activity
where application_name like 'pgflow-yaml upkeep%' and datname = current_database()"""

BREAK_WAITS = b"""
create function public.fault() returns trigger language plpgsql as $$
begin
  raise exception 'injected';
end $$;
create trigger fault before update on pgflow.step_states
for each row when (new.status = 'completed') execute function public.fault()"""


def deploy(works: Works, *flows: str) -> None:
    works.app.write("shop.py", HOUSE)
    for text in flows:
        works.deploy(text)


def fill_the_house(works: Works) -> None:
    """A worker whose only slot is busy until the gate opens."""
    works.client.start("stay")
    works.start(concurrency=1)
    import shop  # type: ignore[import-not-found]

    assert shop.began.wait(10)


def open_the_gate() -> None:
    import shop

    shop.gate.set()


def test_timers_go_on_while_every_slot_is_busy(works: Works) -> None:
    """A timer, the timeout of a run, a child's start and end: within 2 s, nothing is claimed."""
    deploy(works, STAY, NAP, PARENT, SHORT)
    fill_the_house(works)

    runs = [works.client.start(name).id for name in ("nap", "parent", "short")]

    ended = [works.ended(run, seconds=5) for run in runs]
    open_the_gate()
    assert [run.status for run in ended] == ["completed", "completed", "failed"]
    assert [run.error["type"] for run in ended if run.error] == ["RunTimeout"]


@direct
def test_a_connection_for_timers_is_there_while_it_is_needed(
    works: Works, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle worker has none; one that was busy has closed it after a while."""
    monkeypatch.setattr(worker, "LONGEST_SECONDS", 0.1)
    monkeypatch.setattr(upkeep, "_UNUSED_SECONDS", 0.1)

    def connections() -> int:
        row = db.execute(CONNECTIONS.encode()).fetchone()
        return int(row[0]) if row else 0

    deploy(works, STAY)
    works.start(concurrency=1, **HALF_A_MINUTE)
    at_rest(db)
    idle = connections()
    works.client.start("stay")
    eventually(lambda: connections() == 1, what="the worker runs timers")
    open_the_gate()

    eventually(lambda: connections() == 0, what="the connection is closed")
    assert idle == 0


def test_an_idle_worker_is_there_when_a_message_is_due(works: Works) -> None:
    """It would poll next in half a minute: a timer, a timeout, a child and a retry are in time."""
    deploy(works, NAP, PARENT, SHORT, AGAIN)
    works.start(**HALF_A_MINUTE)

    runs = [works.client.start(name).id for name in ("nap", "parent", "short", "again")]

    statuses = [works.ended(run, seconds=5).status for run in runs]
    assert statuses == ["completed", "completed", "failed", "completed"]


def test_a_timer_that_fails_in_the_database_is_logged_and_goes_on(
    works: Works, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """One line names it; once the cause is gone, it runs within moments."""
    db.execute(BREAK_WAITS)
    deploy(works, NAP)
    works.start()
    run = works.client.start("nap").id
    eventually(lambda: "injected" in caplog.text)
    db.execute("drop trigger fault on pgflow.step_states")

    assert works.ended(run, seconds=5).status == "completed"
    (line,) = [message for message in caplog.messages if "injected" in message]
    assert line.startswith('the timer {"kind": "wait", "run_id": ')
    assert line.endswith("cannot be run: injected; try 1, the next in 0.1 s")


def test_a_database_that_refuses_to_run_timers_is_asked_again(
    works: Works,
    db: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is logged, and the timers run once it does."""
    monkeypatch.setattr(upkeep, "_REFUSED_SECONDS", 0.3)
    db.execute("alter function pgflow.wind(uuid) rename to wind_away")
    deploy(works, STAY, NAP)
    fill_the_house(works)
    run = works.client.start("nap").id
    eventually(lambda: "the database refused the timers: " in caplog.text)

    db.execute("alter function pgflow.wind_away(uuid) rename to wind")

    assert works.ended(run, seconds=5).status == "completed"
    open_the_gate()


@pytest.mark.parametrize("ends", ["when the wire is back", "in time"])
def test_a_silent_wire_ends_neither_the_timers_nor_a_stop(
    works: Works, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """The connection for timers is made again; a stop does not wait for it (R-7, R-14)."""
    monkeypatch.setattr(patrol, "QUIET_SECONDS", 0.5)
    monkeypatch.setattr(patrol, "_PROBE_SECONDS", "2")
    proxy = Proxy(works.database)
    deploy(works, STAY, NAP)
    worker = works.worker(conninfo=proxy.conninfo, concurrency=1, grace_seconds=1)
    thread = threading.Thread(target=worker.run, daemon=True)
    works.client.start("stay")
    thread.start()
    eventually(lambda: db.execute(CONNECTIONS.encode()).fetchone() == (1,))
    run = works.client.start("nap").id

    proxy.go_silent(new=ends == "in time")

    if ends == "when the wire is back":
        assert works.ended(run, seconds=10).status == "completed"
        open_the_gate()
    worker.stop()
    thread.join(6)
    assert not thread.is_alive()
    proxy.close()
