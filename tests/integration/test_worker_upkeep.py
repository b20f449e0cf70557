"""Timers go on while every slot is busy, and an idle worker is there when one is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.worker import upkeep, worker
from tests.fixtures.waiting import at_rest, eventually
from tests.integration.test_wake_ups import HALF_A_MINUTE

if TYPE_CHECKING:
    import psycopg
    import pytest

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
