"""Metrics of workers in this process: lost results, forked handlers, what nobody asked for."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.worker import health
from pgflow_yaml.worker.metrics.server import MetricsServer
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.proxy import Proxy
    from tests.fixtures.working import Works

EXTRAS = "prometheus_client", "opentelemetry", "http.server"


def test_a_late_result_is_lost(works: Works, db: psycopg.Connection) -> None:
    """Another worker has the task: one attempt more, with this outcome, and one lost."""
    works.app.write(
        "shop.py",
        """
        import threading
        began, gate = threading.Event(), threading.Event()
        def go(input):
            began.set()
            gate.wait(10)
        """,
    )
    works.deploy("flow: one\nsteps:\n  go: {handler: shop.go}\n")
    works.client.start("one")
    worker = works.start(metrics=True)
    import shop  # type: ignore[import-not-found]

    assert shop.began.wait(10)
    db.execute("update pgflow.step_tasks set attempts_count = attempts_count + 1")
    shop.gate.set()

    assert worker.measures is not None
    registry = worker.measures.registry
    labels = {"flow": "one", "step": "go", "outcome": "lost"}
    eventually(
        lambda: registry.get_sample_value("pgflow_attempts_total", labels) == 1,
        what="the result is lost",
    )
    assert registry.get_sample_value("pgflow_lost_total") == 1


def test_old_numbers_of_the_database_are_not_exported(works: Works) -> None:
    """A worker that cannot read them says nothing rather than what was once true."""
    works.deploy("flow: one\nsteps:\n  go: {handler: shop.go}\n")
    worker = works.start(metrics=True)
    assert worker.measures is not None
    registry = worker.measures.registry
    eventually(lambda: registry.get_sample_value("pgflow_workers") == 1, what="they are read")
    (gauges,) = [duty for duty in worker._upkeep._duties if duty.name == "gauges"]

    gauges._read_at -= 61  # type: ignore[attr-defined]

    assert registry.get_sample_value("pgflow_workers") is None


def test_a_request_that_hangs_does_not_keep_others_waiting(works: Works) -> None:
    """And a row of them fills no process: those beyond the limit are closed at once."""
    import socket
    from urllib.request import urlopen

    server = MetricsServer("127.0.0.1:0")
    server.serve(works.worker(metrics=True))
    address = ("127.0.0.1", server.server_address[1])
    try:
        hanging = [socket.create_connection(address) for _ in range(15)]
        with urlopen(f"http://{address[0]}:{address[1]}/livez", timeout=10) as reply:
            assert reply.read() == b"ok\n"
        hanging += [socket.create_connection(address) for _ in range(3)]
        hanging[-1].settimeout(10)

        assert hanging[-1].recv(1) == b""
        for connection in hanging:
            connection.close()
    finally:
        server.shutdown()
        server.server_close()


def test_who_exports_nothing_imports_nothing_for_it() -> None:
    """The package and a worker start as fast as before."""
    program = (
        "import sys, pgflow_yaml; from pgflow_yaml.worker import Worker\n"
        "Worker('host=/nowhere')\n"
        f"print([name for name in {EXTRAS!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_a_silent_database_makes_a_worker_unready_and_not_dead(
    works: Works, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ready again with the first answer; the limit is two seconds here."""
    monkeypatch.setattr(health, "ANSWER_SECONDS", 2)
    works.deploy("flow: one\nsteps:\n  go: {handler: shop.go}\n")
    worker = works.start(metrics=True, conninfo=proxy.conninfo)
    eventually(lambda: worker.health.why_not_ready() is None, what="it is ready")

    proxy.go_silent()
    eventually(worker.health.why_not_ready, what="it is not ready")

    assert worker.health.why_not_ready() == "the database has not answered for 2 s"
    assert worker.health.why_not_alive() is None
    proxy.is_silent = False
    proxy.cut()
    eventually(lambda: worker.health.why_not_ready() is None, what="it is ready again")


@pytest.mark.parametrize("text", ["x", "host:", "70000", "127.0.0.1", "[::1]"])
def test_a_wrong_address_is_a_sentence(text: str) -> None:
    """With the form to write."""
    sentence = f'--metrics "{text}" has no port from 0 to 65535; write [HOST:]PORT, as in 9187'

    with pytest.raises(WrongSetting, match=re.escape(sentence)):
        MetricsServer(text)


def test_a_newer_schema_makes_a_worker_unready(works: Works, db: psycopg.Connection) -> None:
    """Compared once a minute: somebody may have migrated for the next release meanwhile."""
    works.deploy("flow: one\nsteps:\n  go: {handler: shop.go}\n")
    worker = works.start(metrics=True)
    eventually(lambda: worker.health.why_not_ready() is None, what="it is ready")
    (checkup,) = [duty for duty in worker._upkeep._duties if isinstance(duty, health.Checkup)]

    def reason() -> str | None:
        checkup._compare_at = 0
        worker._upkeep.set_due(checkup, 0)
        return worker.health.why_not_ready()

    db.execute("insert into pgflow.migrations values ('9999_next.sql', 'x', now(), '99.0')")
    eventually(reason, what="it is not ready")

    assert "newer than this release" in (reason() or "")
    db.execute("delete from pgflow.migrations where release = '99.0'")
    eventually(lambda: reason() is None, what="it is ready again")


def test_other_addresses_than_the_first_are_served(works: Works) -> None:
    """Of the other version of IP, in its brackets."""
    from urllib.request import urlopen

    server = MetricsServer("[::1]:0")
    server.serve(works.worker(metrics=True))
    try:
        with urlopen(f"http://[::1]:{server.server_address[1]}/metrics", timeout=10) as reply:
            assert b"pgflow_build_info" in reply.read()
    finally:
        server.shutdown()
        server.server_close()
