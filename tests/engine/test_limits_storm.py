"""Many workers at gates of all kinds, with failures, deaths, cancels and retries."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import Engine, a_step, done, failed, path
from tests.engine.test_turmoil import Turmoil
from tests.fixtures.effort import examples, patient

if TYPE_CHECKING:
    from collections.abc import Callable

SOON = {"base_delay": 5, "max_delay": 20, "max_attempts": 6}
RUNS = """select coalesce(max(k.runs), 0) from (
  select count(*) as runs from pgflow.runs r
  where r.status = 'started' and r.waits_at is null group by r.input -> 'key') k"""
TASKS = """select count(*) from pgflow.step_tasks t
where t.step_slug = 'each' and t.status = 'started'"""
LEFT = """select (select count(*) from pgflow.slots)
  + (select count(*) from pgmq.q_pgflow__timers where vt < 'infinity')"""


class Storm(Turmoil):
    """Workers that fail and die, and people who cancel and retry, until it is to end."""

    def __init__(self, database: str, runs: list[str], seed: int) -> None:
        super().__init__(database, runs, seed)
        self.calm = threading.Event()

    def serve(self, engine: Engine, chance: random.Random) -> None:
        """Claim a few tasks; of 100 attempts 13 fail, and 2 are never reported."""
        results = list[dict[str, Any]]()
        for _ in range(20):
            try:
                reply = engine.turn(*results, queue="ship", lease="400 ms", quantity=7)
            except psycopg.errors.LockNotAvailable:  # a worker sends them again
                return
            results = []
            for task in reply["tasks"]:
                luck = chance.random()
                if luck > 0.98:
                    continue
                kinds = ("failed", "failed", "released")
                results.append(failed(task, chance.choice(kinds)) if luck < 0.13 else done(task, 1))
        engine.turn(*results, queue="none", quantity=0, options={"skip": True})

    def meddle(self, engine: Engine, chance: random.Random) -> None:
        """Cancel a run, retry one, or sweep."""
        if self.calm.wait(0.1):
            return
        run = chance.choice(self.runs)
        calls: list[Callable[[], object]] = [
            lambda: engine.call("cancel_run", run),
            lambda: engine.call("retry_run", run),
            lambda: engine.call("sweep", 100),
        ]
        try:
            chance.choice(calls)()
        except psycopg.Error as error:
            if error.sqlstate not in ("PF005", "PF006"):
                raise


@pytest.mark.slow
@patient
def test_no_gate_lets_in_more_than_its_limit(engine: Engine, database: str) -> None:
    """Three runs a key, five tasks over all; all runs end, and nothing is left behind."""
    seed = int(os.environ.get("PGFLOW_YAML_SEED", "0")) or random.randrange(1, 10**9)
    print("PGFLOW_YAML_SEED =", seed)  # noqa: T201 (shown when the test fails)
    engine.deploy(
        "ship",
        {
            "each": a_step(map=path("input.items"), concurrency={"limit": 5}, retry=SOON),
            "tell": a_step("each", rate_limit={"limit": 50, "per": 100}, retry=SOON),
            "both": a_step(
                "each",
                concurrency={"limit": 4, "key": path("input.key")},
                rate_limit={"limit": 60, "per": 100},
                retry=SOON,
            ),
        },
        finally_={"clean": a_step(concurrency={"limit": 2}, retry=SOON)},
        concurrency={"limit": 3, "key": path("input.key")},
        input={"items": {}, "key": {}},
    )
    chance = random.Random(seed)
    runs = [
        engine.start("ship", {"items": [1, 2, 3], "key": chance.randrange(3)})
        for _ in range(examples(40))
    ]
    storm = Storm(database, runs, seed)

    threads = [storm.thread(storm.serve) for _ in range(4)]
    threads.append(storm.thread(storm.meddle))
    live = "select count(*) from pgflow.runs where status = 'started'"
    until = time.monotonic() + examples(40)
    while engine.one(live) and time.monotonic() < until and not storm.errors:
        assert engine.one(RUNS) <= 3
        assert engine.one(TASKS) <= 5
        if engine.one(live) < 5:
            storm.calm.set()
    storm.over.set()
    for thread in threads:
        thread.join(20)

    assert storm.errors == []
    assert engine.one(live) == 0, json.dumps(engine.call("run_why", runs[0]), default=str)
    until = time.monotonic() + 10
    while engine.one(LEFT) and time.monotonic() < until:
        engine.claim("ship")
        engine.call("sweep")
    assert engine.one(LEFT) == 0
