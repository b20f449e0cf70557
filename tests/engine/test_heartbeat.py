"""A heartbeat: its cost grows with the number of leases, and no faster (X-G6); the timeout."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.engine.driver import Engine, a_step, done, named, path
from tests.engine.test_plans import EXPLAIN

if TYPE_CHECKING:
    import psycopg

LEASES = 400
_READ = re.compile(r"actual rows=([\d.]+) loops=(\d+)")


def test_no_lease_is_compared_with_the_others(db: psycopg.Connection) -> None:
    """Each node of its plans reads so many rows as there are leases, not their square."""
    engine = Engine(db)
    engine.deploy("fan", {"a": a_step(map=path("input.items"))}, input={"items": {"type": "array"}})
    engine.call("start_run", "fan", json.dumps({"items": list(range(LEASES))}))
    tasks = engine.claim("fan", quantity=LEASES)
    plans: list[str] = []
    db.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    db.execute(EXPLAIN.encode())

    engine.heartbeat(*tasks)

    db.execute("set auto_explain.log_min_duration = -1")
    read = [float(rows) * int(loops) for plan in plans for rows, loops in _READ.findall(plan)]
    assert LEASES <= max(read) <= 2 * LEASES  # rows read by a node
    assert engine.report(*(done(task, 1) for task in tasks)) == ["applied"] * LEASES


@pytest.mark.parametrize(
    ("told", "kept_until"),
    [({"ran_ms": 3_000}, 24), ({"ran_ms": -3_000}, 27), ({"waits": True}, 42), ({}, 15)],
    ids=["ran-3-s", "not-before-now", "not-begun", "says-nothing"],
)
def test_the_timeout_counts_from_the_call_of_which_a_heartbeat_tells(
    engine: Engine, told: dict[str, object], kept_until: int
) -> None:
    """An engine may begin a call long after its claim; then the lease ends with that call."""
    other = Engine(engine.db)
    engine.deploy("flow", {"a": a_step(timeout=10_000)})
    engine.now("2100-01-01 12:00:00Z")
    engine.start("flow")
    (task,) = engine.claim("flow")
    engine.now("2100-01-01 12:00:12Z")
    engine.call("heartbeat", engine.worker, "30 s", json.dumps([json.loads(named(task))[0] | told]))

    other.now(f"2100-01-01 12:00:{kept_until - 1}Z")
    assert other.claim("flow") == []
    other.now(f"2100-01-01 12:00:{kept_until + 1}Z")
    (taken,) = other.claim("flow")
    other.report(done(taken))
