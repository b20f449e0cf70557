"""Connections whose bytes vanish: noticed, and never in the way of a stop (R-2, R-7, R-14, F7)."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml import Client
from pgflow_yaml.database.store import Store, patrol
from pgflow_yaml.errors import Unavailable
from tests.fixtures.roles import as_author
from tests.fixtures.waiting import at_rest, eventually

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.apps import App
    from tests.fixtures.proxy import Proxy
    from tests.fixtures.worker_process import StartCli
    from tests.fixtures.working import Works

GATED = """
import threading
gate, seen, stopped = threading.Event(), [], []
def go(ctx):
    seen.append(ctx.step)
    while not gate.wait(0.05):
        if ctx.cancelled:
            stopped.append(ctx.step)
            break
    return 1
"""
FLOW = """
flow: gated
steps:
  go: {handler: shop.go}
"""


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice silence after a second instead of ten."""
    monkeypatch.setattr(patrol, "QUIET_SECONDS", 1.0)
    monkeypatch.setattr(patrol, "_PROBE_SECONDS", "2")


def gated(works: Works) -> str:
    works.app.write("shop.py", GATED)
    works.deploy(FLOW)
    return works.client.start("gated").id


def test_a_call_of_a_client_is_bounded(proxy: Proxy) -> None:
    """It is refused within half a minute although no error arrives."""
    with Client(as_author(proxy.conninfo)) as client:
        client.list_flows()
        proxy.go_silent()
        began = time.monotonic()

        with pytest.raises(Unavailable, match="cannot connect to the database"):
            client.list_flows()

    assert time.monotonic() - began < 35


@pytest.mark.usefixtures("hasty")
def test_a_connection_that_was_forgotten_is_made_again(proxy: Proxy) -> None:
    """The call succeeds over a new one."""
    with Client(as_author(proxy.conninfo)) as client:
        client.list_flows()
        proxy.go_silent(new=False)

        assert client.list_flows() == []


@pytest.mark.usefixtures("hasty")
def test_a_statement_that_the_server_works_on_is_left_alone(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence alone proves nothing: the server is asked."""
    monkeypatch.setattr(patrol, "QUIET_SECONDS", 0.3)
    with Store(database, patience=0.0) as store:
        assert store.ask("select pg_sleep(2)::text", []) == ""


@pytest.mark.usefixtures("hasty")
def test_a_worker_notices_each_half_open_connection(
    works: Works, db: psycopg.Connection, proxy: Proxy
) -> None:
    """Main, heartbeat and listener: all are made again, and what starts then is found."""
    run_id = gated(works)
    works.start(conninfo=proxy.conninfo, lease_seconds=3)
    names = "select pid, application_name from pg_stat_activity where datname = current_database()"

    def connected() -> dict[str, int]:
        rows = db.execute(names).fetchall()
        kinds = ("worker", "heartbeat", "listener")
        return {kind: pid for pid, name in rows for kind in kinds if f"yaml {kind}" in name}

    before = eventually(lambda: len(connected()) == 3 and connected())
    assert before

    proxy.go_silent(new=False)

    def renewed() -> bool:
        now = connected()
        return len(now) == 3 and all(now[kind] != pid for kind, pid in before.items())

    eventually(renewed, what=f"{before} are replaced")
    import shop  # type: ignore[import-not-found]

    shop.gate.set()
    assert works.ended(run_id).status == "completed"


@pytest.mark.usefixtures("hasty")
def test_handlers_are_told_when_their_lease_has_run_out_unheard(
    works: Works, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Another worker may have their tasks by now; one line says how many."""
    gated(works)
    worker = works.start(conninfo=proxy.conninfo, lease_seconds=1.5)
    import shop

    eventually(lambda: shop.seen)
    assert not shop.stopped

    proxy.go_silent()

    eventually(lambda: shop.stopped == ["go"])
    assert caplog.text.count("handlers are told to stop: 1") == 1
    worker.stop(now=True)


@pytest.mark.parametrize("state", ["idle", "busy", "connecting", "starting"])
@pytest.mark.usefixtures("hasty")
def test_a_worker_without_an_answer_ends_in_time(
    works: Works, db: psycopg.Connection, proxy: Proxy, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    """Within its grace and five seconds, whatever it waits for (R-14, F7)."""
    run_id = gated(works)
    if state == "idle":
        works.client.cancel(run_id)
    if state == "starting":
        proxy.go_silent()
    worker = works.worker(conninfo=proxy.conninfo, grace_seconds=1, lease_seconds=30)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    if state == "idle":
        eventually(lambda: "worker started" in caplog.text)
        at_rest(db)
    elif state != "starting":
        eventually(lambda: started(db))
    proxy.go_silent()
    if state == "connecting":
        eventually(lambda: "trying again" in caplog.text)

    worker.stop()
    thread.join(3 * 6)

    assert not thread.is_alive()


def started(db: psycopg.Connection) -> bool:
    return db.execute("select from pgflow.step_tasks where status = 'started'").rowcount > 0


def test_a_worker_process_ends_although_its_start_hangs(
    proxy: Proxy, app: App, start_cli: StartCli
) -> None:
    """The second signal asks for an end at once: it comes within five seconds (R-14)."""
    proxy.go_silent()
    worker = start_cli("worker", dsn=f"{proxy.conninfo} connect_timeout=60", cwd=app.folder)
    eventually(lambda: proxy.is_used)
    began = time.monotonic()

    worker.send(signal.SIGTERM)
    worker.wait_for("stopping")
    worker.send(signal.SIGTERM)

    assert worker.wait() == 1
    assert time.monotonic() - began < 3 * 5
