"""`worker --otel`: one trace for one run, whoever works on it, at a collector on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pgflow_yaml import Client, load
from tests.fixtures.roles import as_author, as_program
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.apps import App
    from tests.fixtures.worker_process import StartCli

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SHOP = """
import os
from opentelemetry import trace
def pay(input, ctx):
    with trace.get_tracer("shop").start_as_current_span("card"):
        ctx.log.info("paid")
    return os.getpid()
async def pack(outputs):
    with trace.get_tracer("shop").start_as_current_span("box"):
        return os.getpid()
def ship(outputs):
    raise ValueError("no parcel for Ada")
"""
ORDER = """
flow: order
steps:
  pay: {handler: shop.pay}
  parcel: {flow: parcel, depends_on: [pay], with: {}}
  ship: {handler: shop.ship, depends_on: [parcel], retry: 1, queue: second}
"""
PARCEL = "flow: parcel\nsteps:\n  pack: {handler: shop.pack, queue: second}\n"


class Collector(ThreadingHTTPServer):
    """Keeps all spans that are sent to it."""

    daemon_threads = True

    def __init__(self) -> None:
        self.spans: list[Any] = []
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def of(self, trace: str) -> list[Any]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id.hex() == trace]


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector."""
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        yield collector
        collector.shutdown()


def start(database: str, **env: str) -> str:
    """Start the order from a shell; its id."""
    done = subprocess.run(
        [sys.executable, "-m", "pgflow_yaml", "start", "order"],
        env={**os.environ, "DATABASE_URL": as_program(database, "start"), **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_run_of_two_processes_and_a_child_is_one_trace(
    database: str, app: App, start_cli: StartCli, collector: Collector
) -> None:
    """Run, step, attempt, the handlers' own spans; the child run lies in the step of its parent."""
    app.write("shop.py", SHOP)
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with Client(as_author(database)) as client:
        client.deploy(load(app.write("parcel.yaml", PARCEL)))
        client.deploy(load(app.write("order.yaml", ORDER)))
        run = start(database, TRACEPARENT=f"00-{TRACE}-{CALLER}-01")
        untraced = start(database)
        workers = [
            start_cli("worker", "--otel", "--queue", queue, dsn=database, cwd=app.folder, **env)
            for queue in ("order", "second")
        ]
        eventually(lambda: client.get(run).ended and client.get(untraced).ended, what="they end")
    names = {
        *("order", "order/pay", "order/parcel", "order/ship", "parcel", "parcel/pack"),
        *("order/pay attempt", "order/ship attempt", "parcel/pack attempt", "card", "box"),
    }
    eventually(
        lambda: {span.name for span in collector.of(TRACE)} == names and len(collector.spans) == 13,
        what="all spans are there, and those of the handlers of the other run",
    )

    spans = collector.of(TRACE)
    parents = {span.span_id.hex(): span.name for span in spans}
    tree = {s.name: parents.get(s.parent_span_id.hex(), s.parent_span_id.hex()) for s in spans}
    assert tree == {
        "order": CALLER,
        "order/pay": "order",
        "order/pay attempt": "order/pay",
        "card": "order/pay attempt",
        "order/parcel": "order",
        "parcel": "order/parcel",
        "parcel/pack": "parcel",
        "parcel/pack attempt": "parcel/pack",
        "box": "parcel/pack attempt",
        "order/ship": "order",
        "order/ship attempt": "order/ship",
    }
    assert len(spans) == len(names)  # each once
    assert {span.name for span in collector.spans if span not in spans} == {"card", "box"}
    root, ship = (next(s for s in spans if s.name == name) for name in ("order", "order/ship"))
    assert root.start_time_unix_nano <= ship.start_time_unix_nano
    assert ship.end_time_unix_nano <= root.end_time_unix_nano
    assert (ship.status.code, ship.status.message) == (2, "ValueError")
    assert "Ada" not in str(collector.spans)
    assert f"trace_id={TRACE}" in workers[0].stderr


def test_the_last_spans_are_sent_before_a_worker_ends(
    database: str, app: App, start_cli: StartCli, collector: Collector
) -> None:
    """With --burst nobody may come after it."""
    app.write("shop.py", "def go(input): pass\n")
    with Client(as_author(database)) as client:
        client.deploy(load(app.write("order.yaml", "flow: order\nsteps: {go: {handler: shop.go}}")))
    start(database, TRACEPARENT=f"00-{TRACE}-{CALLER}-01")
    worker = start_cli("worker", "--otel", "--burst", dsn=database, cwd=app.folder,
                       OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)  # fmt: skip

    assert worker.wait() == 0
    assert {span.name for span in collector.spans} == {"order", "order/go", "order/go attempt"}


def test_a_collector_that_is_away_keeps_no_worker(
    database: str, app: App, start_cli: StartCli
) -> None:
    """Its runs complete, and it ends within seconds."""
    app.write("shop.py", "def go(input): pass\n")
    with Client(as_author(database)) as client:
        client.deploy(load(app.write("order.yaml", "flow: order\nsteps: {go: {handler: shop.go}}")))
        run = start(database, TRACEPARENT=f"00-{TRACE}-{CALLER}-01")
        worker = start_cli("worker", "--otel", "--burst", dsn=database, cwd=app.folder,
                           OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")  # fmt: skip

        assert worker.wait() == 0
        assert client.get(run).status == "completed"


def test_without_the_extra_the_sentence_names_it() -> None:
    """Exit code 3, as for everything that is not installed."""
    blind = (
        "import sys; sys.modules['opentelemetry'] = None\nfrom pgflow_yaml.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", blind, "worker", "--otel", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["message"] == (
        "traces need: pip install 'pgflow-yaml[otel]'"
    )
