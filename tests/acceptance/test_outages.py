"""The commands while the database is away: who waits, for how long, and what is logged (R-7)."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pgflow_yaml.database.embedded import LocalServer
    from tests.fixtures.apps import App
    from tests.fixtures.pg import CrashableServer
    from tests.fixtures.worker_process import StartCli

TRYING = "trying again"


def test_a_worker_that_starts_during_an_outage_waits(
    crashable: CrashableServer, app: App, start_cli: StartCli
) -> None:
    """One line says what is wrong; it works as soon as the database is back."""
    crashable.kill()
    worker = start_cli("worker", dsn=crashable.conninfo(), cwd=app.folder)
    worker.wait_for(TRYING)

    crashable.start()

    worker.wait_for("worker started")
    assert worker.stderr.count(TRYING) == 1
    assert "connected to the database again" in worker.stderr
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_worker_that_waits_for_its_first_connection_can_be_stopped(
    app: App, start_cli: StartCli
) -> None:
    """Exit code 0, without a task there is nothing to wait for (R-14)."""
    worker = start_cli("worker", dsn="host=/nowhere dbname=x", cwd=app.folder)
    worker.wait_for(TRYING)
    began = time.monotonic()

    worker.send(signal.SIGTERM)

    assert worker.wait() == 0
    assert time.monotonic() - began < 3 * 5


@pytest.mark.parametrize("name", ["no_such_database"])
def test_a_worker_does_not_wait_for_what_does_not_come(
    server: LocalServer, app: App, start_cli: StartCli, name: str
) -> None:
    """An unknown database is a mistake in the settings: exit code 3."""
    worker = start_cli("worker", dsn=server.conninfo(name), cwd=app.folder)

    assert worker.wait() == 3
    assert f'"{name}" does not exist' in worker.stderr


def test_a_command_tries_for_five_seconds(
    crashable: CrashableServer, app: App, start_cli: StartCli
) -> None:
    """It succeeds if the database comes back meanwhile."""
    crashable.kill()
    process = start_cli("flows", "--json", dsn=crashable.conninfo(), cwd=app.folder)
    waiting = start_cli("flows", dsn="host=/nowhere dbname=x", cwd=app.folder)

    crashable.start()

    assert process.wait() == 0, process.stderr
    assert json.loads(process.stdout) is not None
    began = time.monotonic()
    assert waiting.wait() == 3
    assert time.monotonic() - began < 3 * 5
    assert waiting.stderr.count("\n") == 1


def test_a_long_outage_fills_no_log(
    crashable: CrashableServer, app: App, start_cli: StartCli
) -> None:
    """All connections of a worker together log one line in ten seconds."""
    worker = start_cli("worker", "--lease", "2", dsn=crashable.conninfo(), cwd=app.folder)
    worker.wait_for("worker started")
    before = worker.stderr.count("\n")
    crashable.kill()
    eventually(lambda: worker.stderr.count(TRYING) == 2, what="a second line")

    during = worker.stderr.count("\n") - before

    crashable.start()
    worker.wait_for("connected to the database again")
    assert during == 2
