"""A heartbeat of many leases: its cost grows with their number, and no faster (X-G6)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.engine.driver import Engine, a_step, done, path
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
