"""What a turn costs does not grow with what lies beside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.engine.driver import Engine, a_step, done, failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

BESIDE = 30_000
EXPLAIN = """load 'auto_explain';
set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;
set auto_explain.log_analyze = on; set auto_explain.log_timing = off;
set auto_explain.log_level = 'notice'; set client_min_messages = 'notice'"""
TOUCHED = re.compile(r"actual rows=(\d+)|Rows Removed by [A-Za-z ]+: (\d+)")


@pytest.fixture
def crowded(db: psycopg.Connection) -> Iterator[Engine]:
    """Plans made on empty tables; then 30,000 live runs with parked messages, no statistics."""
    engine = Engine(db)
    engine.deploy(
        "flow", {"a": a_step(), "b": a_step("a"), "c": a_step("a"), "d": a_step("b", "c")}
    )
    for _ in range(7):
        engine.start("flow")
        engine.work("flow")
    db.execute(
        "select count(*) from pgflow.start_runs('flow', array_fill('{}'::jsonb, array[%s]))",
        [BESIDE],
    )
    db.execute("update pgmq.q_flow set vt = 'infinity'")
    yield engine
    db.execute("update pgflow.runs set status = 'failed' where status = 'started'")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_no_statement_of_a_turn_touches_more_than_its_batch(crowded: Engine) -> None:
    """Not the claim, not the settling of success or failure, not the heartbeat, not the end."""
    for _ in range(20):
        crowded.start("flow")
    plans: list[str] = []
    crowded.db.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    crowded.db.execute(EXPLAIN.encode())

    tasks = crowded.claim("flow")
    crowded.call("heartbeat", crowded.worker, "30 s", "[]")
    tasks = crowded.turn(failed(tasks[0]), *map(done, tasks[1:]), queue="flow")["tasks"]
    tasks = crowded.turn(*map(done, tasks), queue="flow")["tasks"]
    crowded.turn(*map(done, tasks), queue="flow")
    run = crowded.start("flow")
    crowded.call("cancel_run", run)

    assert len(plans) > 100
    for plan in plans:
        rows = [int(a or b) for a, b in TOUCHED.findall(plan)]
        assert max(rows, default=0) <= 500, plan[:3000]
