"""Limits with real workers: the times that their handlers write down, and what people see."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml import Client, load
from tests.acceptance.shell import Shell
from tests.fixtures.roles import as_author

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.apps import App
    from tests.fixtures.worker_process import StartCli

HANDLERS = """
import os, time
from pathlib import Path

def call(item):
    began = time.time()
    with (Path(__file__).parent / "calls").open("a", buffering=1) as out:
        out.write(f"{os.getpid()} {began!r}\\n")
    return item
"""
RATED = """
flow: rated
input: {n: {type: integer}}
steps:
  call:
    handler: rated.call
    map: range(input.n)
    rate_limit: {limit: 20, per: 500ms}
"""


def calls(folder: Path) -> list[tuple[int, float]]:
    """The process and the time of each call so far."""
    path = folder / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(pid), float(at)) for pid, _, at in (line.partition(" ") for line in lines)]


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_no_window_has_more_starts_than_the_rate_by_the_clocks_of_the_workers(
    database: str, app: App, start_cli: StartCli
) -> None:
    """Twenty in half a second over two workers, one of which lags 1.2 s now and then."""
    app.write("rated.py", HANDLERS)
    path = app.folder / "rated.flow.yaml"
    path.write_text(RATED)
    with Client(as_author(database)) as client:
        client.deploy(load(path))
        workers = [
            start_cli("worker", "--concurrency", "8", dsn=database, cwd=app.folder)
            for _ in range(2)
        ]
        for worker in workers:
            worker.wait_for("worker started")
        run = client.start("rated", {"n": 80})
        while not client.get(run.id).ended:
            workers[0].freeze()
            Event().wait(1.2)  # the lag itself
            workers[0].thaw()
            Event().wait(0.4)

    times = sorted(at for _, at in calls(app.folder))
    assert len(times) == 80
    windows = [later - first for first, later in zip(times, times[20:], strict=False)]
    assert min(windows) >= 0.5
    assert times[-1] - times[0] < 20


SHIP = """
flow: ship
input: {customer: {type: string, default: acme}}
concurrency: {limit: 1, key: input.customer}
steps:
  hold: {wait: {event: go}}
"""


def test_people_see_who_waits_and_for_whom(database: str, app: App) -> None:
    """In the list of runs, in `--why`, on the page of a run; a cancel takes it out of the line."""
    shell = Shell(app.folder, database)
    shell.write("ship.yaml", SHIP)
    shell("compile", "ship.yaml")
    first, second, third = (shell("start", "ship", "--json").json["run_id"] for _ in range(3))
    shell("worker", "--burst")

    listed = shell("runs", "--status", "waiting", "--json").json
    waiting = {run["id"] for run in listed if run["gate"]}
    assert waiting == {second, third}
    assert shell("runs").out.count(" waiting ") == 2
    why = shell("show", third, "--why").out
    held = f'for a slot of flow ship, key "acme" (1 at once): held by {first[:8]} ('
    assert f" run  place 2 of 2 {held}" in why
    assert shell("show", third, "--why", "--json").json["run"]["why"]["kind"] == "run_limit"
    assert f"place 2 of 2 {held}" in shell("show", third).out

    shell("cancel", second)
    shell("send", first, "go")
    shell("worker", "--burst")
    shell("send", third, "go")
    shell("worker", "--burst")
    assert shell("show", third, "--json").json["run"]["status"] == "completed"
    assert shell("show", second, "--json").json["run"]["status"] == "cancelled"
