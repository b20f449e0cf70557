"""What becomes of the tasks of a worker whose row is deleted, and what the deletion reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.engine.driver import Engine, a_step, done, literal
from tests.engine.test_plans import EXPLAIN, TOUCHED

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door

DELETE = "delete from pgflow.workers where worker_id = %s"
HOLDERS = "select array_agg(last_worker_id::text order by step_slug) from pgflow.step_tasks"


def test_our_worker_keeps_its_tasks_and_registers_again(engine: Engine) -> None:
    """Somebody has tidied up: no work is lost, and none is done twice."""
    engine.deploy("flow", {"a": a_step(), "b": a_step()})
    run = engine.start("flow")
    first, second = engine.claim("flow")
    engine.report(done(first))

    engine.db.execute(DELETE.encode(), [engine.worker])

    assert engine.heartbeat(second) == {"lost": [], "stop": []}
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        engine.report(done(second))
    engine.call("register_worker", engine.worker, None, "{}")
    assert engine.report(done(second)) == ["applied"]
    assert engine.status(run) == "completed"
    assert engine.one(HOLDERS) == [engine.worker, engine.worker]


def test_tasks_of_pgflows_worker_are_anybodys_until_they_end(door: Door) -> None:
    """A running task forgets its worker; an ended one keeps its id."""
    door.flow("flow", a={}, b={})
    run = door.start("flow")
    first, second = sorted(door.claim("flow"), key=lambda task: str(task["step_slug"]))
    door.complete(first, 1)

    door.db.execute(DELETE.encode(), [door.worker])

    assert door.one(HOLDERS) == [door.worker, None]
    door.complete(second, 1)
    assert door.status(run) == "completed"


@pytest.mark.parametrize("ours", [True, False])
def test_the_deletion_of_a_worker_reads_no_ended_task(by_hand: Door, *, ours: bool) -> None:
    """Nor queued ones if it was ours: workers may be deleted while all others go on."""
    engine = Engine(by_hand.db)
    engine.deploy("wide", {"each": a_step(map=literal(list(range(3000))))})
    engine.start("wide")
    engine.work("wide")
    if ours:
        engine.start("wide")
        engine.claim("wide")
    plans: list[str] = []
    by_hand.db.execute(b"analyze")
    by_hand.db.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    by_hand.db.execute(EXPLAIN.encode())

    by_hand.db.execute(DELETE.encode(), [engine.worker if ours else by_hand.worker])

    assert plans != []
    rows = [int(a or b) for plan in plans for a, b in TOUCHED.findall(plan)]
    assert max(rows) <= 2
    assert "Seq Scan on step_tasks" not in "".join(plans)
