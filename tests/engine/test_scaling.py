"""The numbers that autoscalers ask for, on a clock that the test moves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import RETRY, Engine, a_step, a_wait, failed
from tests.engine.test_plans import EXPLAIN, TOUCHED

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = "2036-01-01 12:00:00Z"
FILL = "insert into pgmq.{} (vt, message) select now() - interval '1 s', '{{}}' {}"


@pytest.fixture
def filled(engine: Engine) -> Iterator[Engine]:
    """100,000 visible messages in a queue that has never been analyzed."""
    engine.deploy("flow", {"a": a_step()})
    engine.db.execute(FILL.format("q_flow", "from generate_series(1, 100000)").encode())
    yield engine
    engine.db.execute("delete from pgmq.q_flow")


def stats(engine: Engine, name: str) -> dict[str, Any]:
    """The row of one queue."""
    cursor = engine.db.execute("select * from pgflow.queue_stats() where queue = %s", [name])
    row = cursor.fetchone()
    assert cursor.description is not None
    assert row is not None
    return dict(zip([column.name for column in cursor.description], row, strict=True))


def test_what_waits_is_what_a_worker_could_begin_now(engine: Engine) -> None:
    """Not what is held, nor what waits for its next attempt until that is due."""
    engine.now(NOON)
    engine.deploy("flow", {"a": a_step(retry=RETRY | {"base_delay": 60_000})})
    for _ in range(4):
        engine.start("flow")
    waiting = engine.call("work_waiting")
    first, _ = engine.claim("flow", quantity=2, lease="10 min")
    engine.report(failed(first))
    parked = engine.call("work_waiting")
    engine.now("2036-01-01 12:02:00Z")

    assert (waiting, parked, engine.call("work_waiting")) == (4, 2, 3)


def test_a_timer_counts_when_it_is_due_whatever_queues_are_asked_for(engine: Engine) -> None:
    """With no worker nothing fires it: a scaler must start one."""
    engine.now(NOON)
    engine.deploy("flow", {"nap": a_wait(wait={"for": 60_000})})
    engine.start("flow")
    asleep = engine.call("work_waiting")
    engine.now("2036-01-01 12:01:30Z")

    assert asleep == 0
    for queues in (None, ["flow"], [], ["pgflow__timers"]):
        assert engine.call("work_waiting", queues) == 1


def test_only_queues_that_workers_serve_count(engine: Engine, db: psycopg.Connection) -> None:
    """Those asked for; not paused ones, dropped ones, those of create_flow or of other programs."""
    for name in ("one", "two", "gone"):
        engine.deploy(name, {"a": a_step()})
    engine.start("one")
    engine.start("two")
    db.execute("select pgmq.drop_queue('gone')")
    db.execute("select pgflow.create_flow('theirs'), pgmq.create('foreign')")
    db.execute(FILL.format("q_theirs", "").encode())
    db.execute(FILL.format("q_foreign", "").encode())
    asked = [["one"], ["one", "one"], ["theirs", "foreign", "gone", "none"], ["two", None]]

    counts = [engine.call("work_waiting", queues) for queues in asked]
    everywhere = engine.call("work_waiting")
    engine.call("pause_queue", "two")
    paused = engine.call("work_waiting"), engine.call("work_waiting", ["two"])
    db.execute("delete from pgmq.q_theirs")
    engine.call("resume_queue", "two")

    assert (counts, everywhere, paused) == ([1, 1, 0, 1], 2, (1, 0))


@pytest.mark.parametrize("most", [-1, None])
def test_a_bound_that_is_none_is_refused(engine: Engine, most: int | None) -> None:
    with pytest.raises(psycopg.Error, match="a limit is at least 0") as refused:
        engine.call("work_waiting", None, most)

    assert refused.value.sqlstate == "PF006"


def test_a_count_reads_no_more_than_its_bound(filled: Engine) -> None:
    """Beside 100,000 messages, without statistics: over the index of vt, all queues together."""
    plans: list[str] = []
    filled.db.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    filled.db.execute(FILL.format("q_pgflow__timers", "from generate_series(1, 20)").encode())
    filled.db.execute(EXPLAIN.encode())

    counts = [filled.call("work_waiting", None, most) for most in (0, 50, 1000)]
    default = filled.call("work_waiting")

    filled.db.execute("delete from pgmq.q_pgflow__timers")
    assert (counts, default) == ([0, 50, 1000], 10_000)
    found = [plan for plan in plans if "union all (select 1 from pgmq" in plan]
    assert len(found) == 4
    for plan, most in zip(found, (0, 50, 1000, 10_000), strict=True):
        assert "using q_flow_vt_idx" in plan
        assert "Seq Scan" not in plan
        assert max(int(a or b) for a, b in TOUCHED.findall(plan)) <= max(most, 1), plan
        assert not re.search(r"\bLockRows\b", plan)


def test_a_count_waits_for_no_lock(engine: Engine, other: Engine) -> None:
    """Nor does it lock: messages that another transaction holds are counted."""
    engine.deploy("flow", {"a": a_step()})
    engine.start("flow")
    other.db.execute("set lock_timeout = '1 s'")
    with engine.db.transaction():
        engine.db.execute("select from pgmq.q_flow for update")

        assert other.call("work_waiting", ["flow"]) == 1
        assert stats(other, "flow")["visible"] == 1


def test_a_row_of_each_queue_has_its_numbers(engine: Engine) -> None:
    """Those of `list_queues`, and the slots of its living workers; a worker may say anything."""
    engine.now(NOON)
    engine.deploy("flow", {"a": a_step(retry=RETRY | {"base_delay": 600_000})})
    for _ in range(4):
        engine.start("flow")
    engine.call("register_worker", engine.worker, None, '{"concurrency": 8}')
    first, *_ = engine.claim("flow", quantity=2, lease="60 s")
    engine.report(failed(first))
    for worker, queues, info in (
        ("00000000-0000-0000-0000-000000000001", ["flow", "b"], '{"concurrency": 4}'),
        ("00000000-0000-0000-0000-000000000002", ["b"], '{"concurrency": 16}'),
        ("00000000-0000-0000-0000-000000000003", ["flow"], '{"concurrency": "x"}'),
        ("00000000-0000-0000-0000-000000000004", ["flow"], None),
    ):
        engine.call("register_worker", worker, queues, info)
    engine.now("2036-01-01 12:00:40Z")

    assert stats(engine, "flow") == {
        "queue": "flow", "visible": 2, "oldest_seconds": 40, "leased": 1, "parked": 1,
        "workers": 4, "slots": 12,
    }  # fmt: skip
    timers = stats(engine, "pgflow__timers")
    assert (timers["visible"], timers["oldest_seconds"], timers["slots"]) == (0, 0, 28)
