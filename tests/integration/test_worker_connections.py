"""The connections of a worker: two when it is idle, without loss of leases or life (R-2, R-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.worker import leases, upkeep
from tests.fixtures.pooler import direct
from tests.fixtures.waiting import eventually
from tests.integration.test_wake_ups import HALF_A_MINUTE

if TYPE_CHECKING:
    import psycopg
    import pytest

    from tests.fixtures.working import Works

GATED = """
import threading
gate, began = threading.Event(), threading.Event()
def go(a, ctx):
    began.set()
    assert gate.wait(30)
    return len(ctx.run_input['text'])
"""
FLOW = """
flow: gated
input: {text: {type: string, default: ''}}
steps:
  go: {handler: shop.go, with: {a: 1}}
"""
BACKENDS = """
select split_part(application_name, ' ', 2) from pg_stat_activity
where datname = current_database() and application_name like 'pgflow-yaml %'
order by 1"""


def backends(db: psycopg.Connection, works: Works) -> list[str]:
    """The names of the worker's connections; that of the client is not counted."""
    works.client.close()
    names = [name for (name,) in db.execute(BACKENDS.encode()).fetchall()]
    return [name for name in names if name in ("worker", "heartbeat", "upkeep", "listener")]


def deploy(works: Works) -> None:
    works.app.write("shop.py", GATED)
    works.deploy(FLOW)


def open_the_gate() -> None:
    import shop  # type: ignore[import-not-found]

    shop.gate.set()


@direct
def test_an_idle_worker_has_two_connections(
    works: Works, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third comes with the first claim, and goes when nothing has been held for a while."""
    monkeypatch.setattr(leases, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(upkeep, "_UNUSED_SECONDS", 0.5)
    deploy(works)
    works.start(lease_seconds=1)
    eventually(lambda: backends(db, works) == ["listener", "worker"], what="it is idle")

    run = works.client.start("gated", {"text": "x" * 100_000})
    eventually(lambda: "heartbeat" in backends(db, works), what="its first claim")
    open_the_gate()
    assert works.ended(run.id).output == {"go": 100_000}

    eventually(lambda: backends(db, works) == ["listener", "worker"], what="it is idle again")


@direct
def test_an_idle_worker_stays_alive_and_sweeps(
    works: Works, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the connection of its loop, which pauses for half a minute."""
    monkeypatch.setattr(leases, "_MOST_BETWEEN", 0.2)
    monkeypatch.setattr(leases, "SWEEP_SECONDS", 0.2)
    deploy(works)
    run = works.client.start("gated")
    db.execute("select pgmq.purge_queue('gated')")  # as if its message had been lost
    works.start(notify=False, **HALF_A_MINUTE)
    heard = "select last_heartbeat_at from pgflow.workers"
    eventually(lambda: db.execute(heard.encode()).fetchall(), what="it has registered")
    (first,) = db.execute(heard.encode()).fetchall()

    eventually(lambda: db.execute(heard.encode()).fetchall() != [first], what="a heartbeat")
    ready = "select count(*) from pgmq.q_gated"
    eventually(lambda: db.execute(ready.encode()).fetchone() == (1,), what="the sweep sends it")

    assert backends(db, works) == ["worker"]
    works.client.cancel(run.id)
