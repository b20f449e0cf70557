"""Workers delete old runs in the background, a short pass now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.worker import pruning
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works

FLOW = "flow: nap\nretention: 1d\nsteps:\n  pause: {wait: {for: 1ms}}\n"
AGE = b"""update pgflow.runs set started_at = started_at - interval '2 days',
completed_at = completed_at - interval '2 days'"""


def count(db: psycopg.Connection) -> int:
    row = db.execute("select count(*) from pgflow.runs").fetchone()
    return int(row[0]) if row else 0


@pytest.fixture
def aged(works: Works, db: psycopg.Connection) -> Works:
    """Runs that ended two days ago, of a flow that keeps them for one."""
    works.deploy(FLOW)
    for _ in range(3):
        works.client.start("nap")
    works.drain()
    db.execute(AGE)
    return works


def test_a_worker_deletes_old_runs_beside_its_work(
    aged: Works,
    db: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line says how many; what is young stays, and nothing is said where nothing goes."""
    monkeypatch.setattr(pruning, "BETWEEN_SECONDS", 0.2)
    caplog.set_level("INFO")
    young = aged.client.start("nap").id

    aged.start()

    eventually(lambda: count(db) == 1, what="the old runs are gone")
    assert aged.ended(young).status == "completed"
    eventually(lambda: "deleted 3 old runs" in caplog.text)
    assert [run.id for run in aged.client.list_runs()] == [young]
    assert sum("old run" in line for line in caplog.messages) == 1


def test_a_pass_ends_in_time_and_the_next_one_goes_on(
    aged: Works, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes one commit here, and rests; the cursor is kept."""
    monkeypatch.setattr(pruning, "BETWEEN_SECONDS", 0.2)
    monkeypatch.setattr(pruning, "PASS_SECONDS", 0.0)

    aged.start()

    eventually(lambda: count(db) == 0)
    query = "select until = '-infinity' from pgflow.pruning"
    eventually(lambda: db.execute(query).fetchone() == (True,), what="a pass has come to its end")


def test_a_worker_leaves_pruning_to_another(
    aged: Works, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And comes later; killed in a pass, the other blocks it for ten seconds at most."""
    monkeypatch.setattr(pruning, "BETWEEN_SECONDS", 0.2)
    db.execute("update pgflow.pruning set holder = gen_random_uuid(), until = 'infinity'")
    aged.start()
    for _ in range(5):
        aged.ended(aged.client.start("nap").id)
    assert count(db) == 8

    db.execute("update pgflow.pruning set until = now() - interval '1 s'")

    eventually(lambda: count(db) == 5)
