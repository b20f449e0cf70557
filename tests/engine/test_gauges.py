"""The numbers of the database for metrics, on a clock that the test moves."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from tests.engine.driver import RETRY, Engine, a_step, a_wait, failed


def is_at(engine: Engine, host: str, *, metrics: bool = True, since: str = "now") -> None:
    """Let a worker have registered from this host."""
    query = "update pgflow.workers set info = %s, started_at = %s where worker_id = %s"
    info = json.dumps({"host": host, "metrics": metrics})
    engine.db.execute(query, [info, since, engine.worker])


def gauges(engine: Engine) -> Any:
    """The reply to a worker that exports metrics."""
    is_at(engine, "web1")
    return engine.call("gauges", engine.worker)


def queue(engine: Engine, name: str) -> Any:
    """The numbers of one queue."""
    (found,) = [row for row in gauges(engine)["queues"] if row["queue"] == name]
    return found


def test_a_queue_has_ready_leased_and_parked_messages(engine: Engine) -> None:
    """Four tasks of one run each: one waits for 40 s, two are held, one waits for its retry."""
    engine.now("2100-01-01 12:00:00Z")
    engine.deploy("work", {"a": a_step(retry=RETRY | {"base_delay": 600_000})})
    for _ in range(4):
        engine.start("work")
    task, *_ = engine.claim("work", quantity=3, lease="60 s")
    engine.report(failed(task))
    engine.now("2100-01-01 12:00:40Z")

    found = queue(engine, "work")

    assert found == {"queue": "work", "ready": 1, "oldest": 40, "leased": 2, "parked": 1}


def test_the_timer_queue_is_one_of_the_queues(engine: Engine) -> None:
    """A timer that nobody runs is ready, and its age grows."""
    engine.now("2100-01-01 12:00:00Z")
    engine.deploy("nap", {"a": a_wait(wait={"for": 5000})})
    engine.start("nap")
    before = queue(engine, "pgflow__timers")
    engine.now("2100-01-01 12:00:09Z")
    after = queue(engine, "pgflow__timers")
    engine.claim("nap")

    assert (before["parked"], before["ready"]) == (1, 0)
    assert (after["parked"], after["ready"], after["oldest"]) == (0, 1, 4)


def test_a_queue_that_was_dropped_is_empty(engine: Engine) -> None:
    """As for the engine itself."""
    engine.deploy("work", {"a": a_step()})
    engine.db.execute("select pgmq.drop_queue('work')")

    assert queue(engine, "work")["ready"] == 0


def test_runs_are_counted_by_flow_and_state(engine: Engine) -> None:
    """Live ones, those of them that wait, and the failed ones of the last 24 hours."""
    engine.now("2100-01-01 12:00:00Z")
    asks = a_wait("a", wait={"event": "x", "timeout": 60_000_000})
    engine.deploy("asks", {"a": a_step(), "b": asks})
    engine.deploy("fails", {"a": a_step(retry={"max_attempts": 1})})
    engine.start("fails")
    engine.work("fails", broken=["a"])
    engine.start("asks")
    engine.work("asks")  # the first one waits now
    engine.start("asks")
    now = gauges(engine)["runs"]
    engine.now("2100-01-02 12:00:01Z")
    next_day = gauges(engine)["runs"]

    asking = {"flow": "asks", "live": 2, "waiting": 1, "failed": 0}
    assert now == [asking, {"flow": "fails", "live": 0, "waiting": 0, "failed": 1}]
    assert next_day == [asking]


def test_one_worker_of_a_host_reads_them(engine: Engine, other: Engine) -> None:
    """The first; the next one when that has stopped, or has been silent for a minute."""
    engine.now("2100-01-01 12:00:00Z")
    other.now("2100-01-01 12:00:00Z")
    for worker, since in ((engine, "2100-01-01 11:00:00Z"), (other, "2100-01-01 11:30:00Z")):
        worker.call("heartbeat", worker.worker, "30 s", "[]")
        is_at(worker, "web1", since=since)

    assert engine.call("gauges", engine.worker)["workers"] == 2
    assert other.call("gauges", other.worker) is None

    other.now("2100-01-01 12:01:01Z")
    other.call("heartbeat", other.worker, "30 s", "[]")

    assert other.call("gauges", other.worker)["workers"] == 1

    engine.call("heartbeat", engine.worker, "30 s", "[]")
    engine.call("stop_worker", engine.worker)

    assert other.call("gauges", other.worker)["workers"] == 1


def test_workers_of_other_hosts_and_without_metrics_do_not_count(
    engine: Engine, other: Engine
) -> None:
    """Each host asks for itself, and only those that export."""
    is_at(engine, "web1", metrics=False, since="2000-01-01")
    is_at(other, "web1")
    beside = other.call("gauges", other.worker)
    is_at(engine, "web2", since="2000-01-01")

    assert beside is not None
    assert other.call("gauges", other.worker) is not None
    assert engine.call("gauges", engine.worker) is not None


def test_an_open_transaction_grows_old(engine: Engine, database: str) -> None:
    """Its own one does not count."""
    before = gauges(engine)["oldest_transaction"]
    with psycopg.connect(database) as connection:
        connection.execute("select pg_sleep(0.02)")
        during = gauges(engine)["oldest_transaction"]

    assert before == 0
    assert 0.02 <= during < 30
