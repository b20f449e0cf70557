"""`worker --metrics` as a process: what Prometheus reads, and what those who restart it read."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from pgflow_yaml import Client, load
from tests.fixtures.roles import as_author
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.apps import App
    from tests.fixtures.pg import CrashableServer
    from tests.fixtures.worker_process import StartCli, WorkerProc

SHOP = """
def pay(input):
    return 1
def ship(outputs):
    raise ValueError("no parcel")
"""
ORDER = """
flow: order
steps:
  pay: {handler: shop.pay}
  ship: {handler: shop.ship, depends_on: [pay], retry: 1}
"""


def address(worker: WorkerProc) -> str:
    """Where it listens, as it says."""
    worker.wait_for("metrics at ")
    found = re.search(r"metrics at (http://\S+)/metrics", worker.stderr)
    assert found is not None
    return found[1]


def page(url: str) -> tuple[int, str]:
    """Status and text of a page."""
    try:
        with urlopen(url, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def samples(url: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples, as Prometheus's own parser reads them."""
    status, text = page(f"{url}/metrics")
    assert status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    """A sample's name with its labels."""
    return name, frozenset(labels.items())


def test_prometheus_reads_what_a_worker_did(database: str, app: App, start_cli: StartCli) -> None:
    """Attempts by outcome, turns, slots, queues and runs; no label is a run."""
    app.write("shop.py", SHOP)
    flow = app.write("order.yaml", ORDER)
    with Client(as_author(database)) as client:
        client.deploy(load(flow))
        run = client.start("order").id
        worker = start_cli("worker", "--metrics", "0", dsn=database, cwd=app.folder)
        url = address(worker)
        eventually(lambda: client.get(run).ended, what="the run ends")
    failed = key("pgflow_runs", flow="order", state="failed")
    eventually(lambda: samples(url).get(failed) == 1, what="the gauges are read")
    found = samples(url)

    paid = {"flow": "order", "step": "pay"}
    assert found[key("pgflow_attempts_total", **paid, outcome="completed")] == 1
    assert found[key("pgflow_attempts_total", flow="order", step="ship", outcome="failed")] == 1
    assert found[key("pgflow_attempt_seconds_count", **paid)] == 1
    assert found[key("pgflow_turn_tasks_sum")] == 2
    assert found[key("pgflow_slots", state="free")] == 8
    assert found[key("pgflow_lost_total")] == 0
    assert found[key("pgflow_queue_ready", queue="order")] == 0
    assert found[key("pgflow_workers")] == 1
    assert {name for _, labels in found for name, _ in labels} == {
        *("flow", "step", "outcome", "le", "state", "queue", "release", "python")
    }
    assert page(f"{url}/other") == (404, "there are only /metrics, /livez, /readyz\n")
    assert page(f"{url}/livez") == page(f"{url}/readyz") == (200, "ok\n")


def test_a_worker_that_waits_for_its_database_is_alive_and_not_ready(
    crashable: CrashableServer, app: App, start_cli: StartCli
) -> None:
    """It is ready as soon as the database is there."""
    crashable.kill()
    worker = start_cli("worker", "--metrics", "0", dsn=crashable.conninfo(), cwd=app.folder)
    url = address(worker)
    worker.wait_for("trying again")

    assert page(f"{url}/readyz") == (503, "the database has not answered for 10 s\n")
    assert page(f"{url}/livez") == (200, "ok\n")

    crashable.start()
    eventually(lambda: page(f"{url}/readyz")[0] == 200, what="it is ready")


def refusal(worker: WorkerProc) -> tuple[int, str]:
    """Exit code and sentence of a worker that did not start."""
    return worker.wait(), worker.stderr


def test_a_port_in_use_is_a_sentence(start_cli: StartCli) -> None:
    """Said before anything is asked of the database."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = start_cli("worker", "--metrics", str(port), dsn="host=/nowhere dbname=x")

        code, sentence = refusal(worker)

    assert code == 2
    assert sentence == (
        f"pgflow-yaml: --metrics {port}: cannot listen there: Address already in use; "
        "name another [HOST:]PORT\n"
    )


def test_without_the_extra_the_sentence_names_it() -> None:
    """Exit code 3, as for everything that is not installed."""
    blind = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from pgflow_yaml.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", blind, "worker", "--metrics", "0"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert done.stderr == "pgflow-yaml: metrics need: pip install 'pgflow-yaml[metrics]'\n"
