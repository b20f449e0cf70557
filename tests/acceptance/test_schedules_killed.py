"""A schedule each second, three workers, kill -9: each tick has one run, and none is left out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml import Client, load
from tests.fixtures.effort import EFFORT
from tests.fixtures.roles import as_author
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import psycopg

    from tests.fixtures.worker_process import StartCli

TICKS = 6 if EFFORT == 1 else 60
FLOW = """
flow: beat
schedule: {every: 1s, overlap: allow, catchup: all}
steps:
  a: {wait: {for: 0s}}
"""


def ticks(db: psycopg.Connection) -> list[datetime]:
    """The ticks that have runs."""
    rows = db.execute("select scheduled_at from pgflow.runs order by 1")
    return [row[0] for row in rows]


@pytest.mark.timeout(60 + 2 * TICKS)
def test_each_tick_has_one_run(
    database: str, db: psycopg.Connection, start_cli: StartCli, tmp_path: Path
) -> None:
    """A worker is killed between reading a tick and firing it, if there is time, another one later.

    The message of the first rests for ten seconds; then `catchup: all` starts what was left.
    """
    path = tmp_path / "beat.flow.yaml"
    path.write_text(FLOW, encoding="utf-8")
    with Client(as_author(database)) as client:
        client.deploy(load(path))
    fault = "" if EFFORT == 1 else "fire=kill@3"
    workers = [
        start_cli("worker", dsn=database, PGFLOW_YAML_FAILPOINTS=fault if number == 0 else "")
        for number in range(3)
    ]
    eventually(lambda: len(ticks(db)) >= 2, seconds=60, what="two ticks have fired")

    workers[0].kill()
    count = len(ticks(db))
    eventually(lambda: len(ticks(db)) >= count + TICKS, seconds=60 + 2 * TICKS, what="others go on")

    found = ticks(db)
    assert found == [found[0] + timedelta(seconds=1) * number for number in range(len(found))]
    (skipped, missed) = db.execute("select skipped, missed from pgflow.schedules").fetchone() or ()
    assert (skipped, missed) == (0, 0)
    assert all(worker.running for worker in workers[1:])
