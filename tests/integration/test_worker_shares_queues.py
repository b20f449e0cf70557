"""Workers without a handler beside one that has it, and runs that an application holds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pgflow_yaml.worker import alone, missing
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg
    import pytest

    from tests.fixtures.working import Works

ONE = "flow: {name}\nsteps:\n  go: {{handler: shop.go}}\n"
HELD = """
flow: held
input: {name: {type: string}}
steps:
  go: {handler: shop.go, with: {name: "${{ input.name }}"}}
  told: {wait: {event: paid}, depends_on: []}
"""


def idle(db: psycopg.Connection, workers: int) -> bool:
    """All workers are registered."""
    return db.execute("select count(*) from pgflow.workers").fetchone() == (workers,)


def test_workers_without_the_handler_slow_down_nobody(
    works: Works, db: psycopg.Connection, tmp_path: Path
) -> None:
    """None of them ever claims a task, and every run reaches the one worker that can at once."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    works.app.write("shop.py", "def go(input): return 1\n")
    works.deploy(ONE.format(name="single"))
    for _ in range(5):
        works.start(app_dir=elsewhere, max_poll_seconds=0.05)
    works.start(poll_interval_ms=30_000, max_poll_seconds=30)  # it must hear of each
    eventually(lambda: idle(db, 6))

    for _ in range(10):
        run = works.client.start("single")
        assert works.ended(run.id, seconds=10).status == "completed"

    claims = db.execute("select max(attempts_count), max(uncounted) from pgflow.step_tasks")
    assert claims.fetchone() == (1, 0)


def test_a_handler_that_turns_up_is_found_without_a_task(
    works: Works,
    db: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its module failed when the first task came; no task is claimed to try it again."""
    monkeypatch.setattr(missing, "LOOK_AGAIN_SECONDS", 0.1)
    works.app.write("tries.py", "count = 0\n")
    works.app.write(
        "shop.py",
        """
        import tries
        tries.count += 1
        if tries.count < 4: raise RuntimeError("not yet")
        def go(input): return tries.count
        """,
    )
    works.deploy(ONE.format(name="late"))
    run = works.client.start("late")

    works.start()

    assert works.ended(run.id).output == {"go": 4}
    claims = db.execute("select attempts_count, uncounted from pgflow.step_tasks").fetchone()
    assert claims == (2, 1)
    assert caplog.text.count("is not available here") == 1


def test_an_open_transaction_holds_up_its_own_run_only(
    works: Works, db: psycopg.Connection
) -> None:
    """An application sends an event in it, as the docs recommend, and is slow to commit."""
    works.app.write(
        "shop.py",
        """
        import threading
        begun, gate = threading.Event(), threading.Event()
        def go(name):
            if name == "held":
                begun.set()
                gate.wait(20)
            return name
        """,
    )
    works.deploy(HELD)
    held = works.client.start("held", {"name": "held"}).id
    works.start(lease_seconds=1)
    import shop  # type: ignore[import-not-found]

    assert shop.begun.wait(10)
    with db.transaction():
        db.execute("select pgflow.send_event(%s, 'paid', '{}')", [held])
        shop.gate.set()
        others = [works.client.start("held", {"name": str(number)}).id for number in range(20)]
        for other in others:
            works.client.send(other, "paid")
        assert {works.ended(other).status for other in others} == {"completed"}
        assert works.client.get(held).status == "started"

    assert works.ended(held).status == "completed"
    assert works.client.run_snapshot(held)["errors"] == []
    claims = db.execute("select max(attempts_count) from pgflow.step_tasks").fetchone()
    assert claims == (1,)


def test_a_worker_that_stops_waits_for_a_held_run(works: Works, db: psycopg.Connection) -> None:
    """Within its grace period; the result is not lost."""
    works.app.write("shop.py", "def go(name): return name\n")
    works.deploy(HELD)
    run = works.client.start("held", {"name": "x"}).id
    worker = works.worker()
    thread = threading.Thread(target=worker.run, daemon=True)
    with db.transaction():
        db.execute("select from pgflow.runs where run_id = %s for no key update", [run])
        thread.start()
        eventually(lambda: len(worker._turns._held_runs) == 1)
        worker.stop()
    thread.join(10)

    assert not thread.is_alive()
    assert works.client.get(run).steps[0].status == "completed"


def test_a_worker_that_always_has_work_makes_room_for_a_crashed_task(
    works: Works, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs beside it, and afterwards the worker goes on with the rest."""
    monkeypatch.setattr(alone, "PATIENCE_SECONDS", 0.2)
    works.app.write(
        "shop.py",
        """
        import time
        running, beside, ended = set(), [], []
        def many(i):
            running.add(i)
            time.sleep(0.02)
            running.discard(i)
            ended.append(i)
        def go(input):
            for _ in range(20):
                beside.append(len(running))
                time.sleep(0.005)
        """,
    )
    works.deploy("flow: wide\nsteps:\n  go: {handler: shop.many, map: range(300)}\n")
    works.deploy(ONE.format(name="crashed"))
    wide = works.client.start("wide").id
    works.start(concurrency=3)
    import shop

    eventually(lambda: len(shop.ended) > 20)
    with db.transaction():
        crashed = works.client.start("crashed", conn=db).id
        db.execute("update pgflow.step_tasks set crashes_count = 1 where run_id = %s", [crashed])

    eventually(lambda: works.client.get(crashed).ended)
    assert len(shop.ended) < 300
    assert works.ended(wide).status == "completed"
    assert set(shop.beside) == {0}
