"""An alert that no crash loses: the worker that ended the run is gone before the alert begins."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml import Client, load
from tests.fixtures.roles import as_author
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.apps import App
    from tests.fixtures.worker_process import StartCli

ORDER = """
flow: order
steps:
  charge: {handler: shop.charge, retry: 1}
"""
ALERT = """
flow: alert
after: {flows: "*"}
steps:
  tell: {handler: shop.tell, with: {line: "${{ input.flow }}: ${{ input.error.message }}"}}
"""
HANDLERS = """
from pathlib import Path

def charge(order): raise ValueError("card declined")
def tell(line):
    with open(Path(__file__).parent / "told", "a") as out:
        out.write(line + "\\n")
"""


@pytest.mark.parametrize("failpoint", ["before_commit", "after_commit"])
def test_an_alert_survives_kill_9_of_the_worker_that_ended_the_run(
    database: str, app: App, start_cli: StartCli, failpoint: str
) -> None:
    """Killed at the commit of the end: another worker tells of it, once."""
    app.write("shop.py", HANDLERS)
    with Client(as_author(database)) as client:
        for name, text in (("order", ORDER), ("alert", ALERT)):
            (app.folder / f"{name}.yaml").write_text(text)
            client.deploy(load(app.folder / f"{name}.yaml"))
        client.start("order")
        words = ("worker", "--lease", "1s", "-c", "1")
        first = start_cli(
            *words, dsn=database, cwd=app.folder, PGFLOW_YAML_FAILPOINTS=f"{failpoint}=kill@1"
        )
        assert first.wait() == -signal.SIGKILL, first.stderr
        assert not (app.folder / "told").exists()

        second = start_cli(*words, dsn=database, cwd=app.folder)

        second.wait_for("run completed")
        eventually(
            lambda: [run.status for run in client.list_runs(flow="alert")] == ["completed"],
            what="one alert has ended",
        )
        assert (app.folder / "told").read_text() == "order: card declined\n"
