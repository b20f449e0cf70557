"""`worker --grace`: the time that handlers have after the first SIGTERM."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.worker_process import StartCli
    from tests.fixtures.working import Works

HANDLERS = """
import time
from pathlib import Path

def hold(input):
    Path(input["begun"]).touch()
    while not Path(input["go"]).exists(): time.sleep(0.01)
    return "done"
"""
HOLD = """
flow: hold
input: {begun: {type: string}, go: {type: string}}
steps:
  hold: {handler: slow.hold}
"""


@pytest.mark.parametrize("ends", [True, False])
def test_handlers_have_the_grace_to_end(
    works: Works, database: str, start_cli: StartCli, tmp_path: Path, *, ends: bool
) -> None:
    """One that ends in time is reported; another one's task is given back, at no attempt."""
    works.app.write("slow.py", HANDLERS)
    works.deploy(HOLD)
    begun, go = tmp_path / "begun", tmp_path / "go"
    run = works.client.start("hold", {"begun": str(begun), "go": str(go)})
    grace = "1h" if ends else "300ms"
    worker = start_cli("worker", "--grace", grace, dsn=database, cwd=works.app.folder)
    eventually(begun.exists, what="the handler begins")

    worker.send(signal.SIGTERM)
    worker.wait_for("stopping")
    if ends:
        go.touch()

    assert worker.wait() == 0
    query = "select status, attempts_count - uncounted from pgflow.step_tasks where run_id = %s"
    with psycopg.connect(database) as db:
        ((status, attempts),) = db.execute(query, [run.id]).fetchall()
    assert (status, attempts) == (("completed", 1) if ends else ("queued", 0))


def test_a_wrong_grace_is_told(works: Works, database: str, start_cli: StartCli) -> None:
    worker = start_cli("worker", "--grace", "soon", dsn=database, cwd=works.app.folder)
    assert worker.wait() == 2
    assert "--grace" in worker.stderr
