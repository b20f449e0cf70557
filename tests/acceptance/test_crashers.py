"""A handler that kills its process takes other runs with it twice, and never again (R-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml import Client, load
from tests.fixtures.roles import as_author
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.apps import App
    from tests.fixtures.worker_process import StartCli

FLOW = """
flow: {name}
steps:
  go: {{handler: fatal.{name}}}
"""
HANDLERS = """
import os, signal, time

def calm(input):
    time.sleep(0.2)  # so that it runs beside others
    return 1

def deadly(input):
    time.sleep(0.1)  # others have begun by then
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_task_that_kills_its_worker_dies_alone(
    database: str, app: App, start_cli: StartCli
) -> None:
    """Its run fails at the fifth death; what ran beside it at the first two completes."""
    app.write("fatal.py", HANDLERS)
    client = Client(as_author(database))
    for name in ("calm", "deadly"):
        path = app.folder / "flow.yaml"
        path.write_text(FLOW.format(name=name), encoding="utf-8")
        client.deploy(load(path))
    deadly = client.start("deadly").id
    calm: list[str] = []
    deaths = 0

    while not client.get(deadly).ended:
        calm += client.start_many("calm", [{}] * 6)
        worker = start_cli("worker", "--lease", "1s", "-c", "4", dsn=database, cwd=app.folder)
        eventually(lambda: client.get(deadly).ended or not worker.running)  # noqa: B023
        deaths += not worker.running

    eventually(lambda: all(client.get(run).ended for run in calm))
    client.close()
    with psycopg.connect(database) as db:
        crashes = db.execute(
            "select r.flow_name, max(t.crashes_count), count(*) filter (where r.status = 'failed')"
            " from pgflow.runs r join pgflow.step_tasks t using (run_id) group by 1 order by 1"
        ).fetchall()
    assert deaths == 5
    (_, most, failed), last = crashes
    assert (1 <= most <= 2, failed) == (True, 0)
    assert last == ("deadly", 5, 1)
