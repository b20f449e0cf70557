"""A run that waits holds nothing, and goes on after every process and the database were killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from pgflow_yaml import Client, load
from tests.fixtures.roles import as_author
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.apps import App
    from tests.fixtures.pg import CrashableServer
    from tests.fixtures.worker_process import StartCli

RELEASE = """
flow: release
steps:
  build: {handler: shop.build}
  approve:
    wait: {event: approval}
    depends_on: [build]
  cool: {wait: {for: 300ms}, depends_on: [approve]}
  deploy:
    flow: region
    map: [eu, us]
    depends_on: [cool]
    with: {region: "${{ item }}"}
"""
REGION = """
flow: region
input: {region: {type: string}}
steps:
  hold: {wait: {event: go}}
  roll: {handler: shop.roll, depends_on: [hold], with: {region: "${{ input.region }}"}}
"""
HANDLERS = """
def build(input): return "image"
def roll(region): return region
"""


def test_a_waiting_run_survives_everything(
    crashable: CrashableServer, app: App, start_cli: StartCli
) -> None:
    """No worker, no attempt while it waits; an approval from SQL; events to child runs."""
    app.write("shop.py", HANDLERS)
    conninfo = crashable.conninfo()
    with Client(as_author(conninfo)) as client:
        for text in (REGION, RELEASE):
            client.deploy(load(app.write("flow.yaml", text)))
        run = client.start("release").id

        first = start_cli("worker", dsn=conninfo, cwd=app.folder)
        eventually(lambda: _status(client, run, "approve") == "waiting", what="it waits")
        first.kill()
    crashable.kill()
    crashable.start()
    with psycopg.connect(conninfo, autocommit=True) as db:
        held = "select count(*) from pgflow.step_tasks where status in ('queued', 'started')"
        assert db.execute(held).fetchone() == (0,)
        db.execute("select pgflow.approve_step(%s, 'approve', 'fine', 'ann')", [run])

    with Client(as_author(conninfo)) as client:
        second = start_cli("worker", dsn=conninfo, cwd=app.folder)
        eventually(lambda: len(_children(client, run)) == 2, what="both children wait")
        second.kill()
    crashable.kill()
    crashable.start()
    with Client(as_author(conninfo)) as client, psycopg.connect(conninfo, autocommit=True) as db:
        for child in _children(client, run):
            db.execute("select pgflow.send_event(%s, 'go')", [child])
        start_cli("worker", dsn=conninfo, cwd=app.folder)

        ended = client.wait(run, timeout=30)

        assert ended.output == {"deploy": [{"roll": "eu"}, {"roll": "us"}]}
        attempts = {step.slug: step.attempts for step in ended.steps}
        assert attempts == {"build": 1, "approve": 0, "cool": 0, "deploy": 1}
        assert db.execute("select count(*) from pgflow.violations()").fetchone() == (0,)


def _status(client: Client, run: str, step: str) -> str:
    found = client.run_snapshot(run)["steps"]
    return str(next(each["status"] for each in found if each["slug"] == step))


def _children(client: Client, run: str) -> list[str]:
    """The child runs of `deploy` that wait."""
    found: list[str] = client.run_snapshot(run)["steps"][-1]["children"]
    return [child for child in found if _status(client, child, "hold") == "waiting"]
