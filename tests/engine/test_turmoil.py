"""Many workers at once on the whole language, with failures, deaths, cancels and events."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import Engine, a_child, a_step, a_wait, done, failed, literal, path

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUES = ["top", "middle", "leaf"]
SOON = {"base_delay": 5, "max_delay": 20}
ANY_RUN = "select run_id from pgflow.runs order by random() limit 1"
ORPHANS = """select count(*) from pgflow.runs c join pgflow.runs p on p.run_id = c.parent_run_id
where c.status = 'started' and p.status <> 'started'"""
ROUNDS = {"until": {"ast": [">", ["path", "iteration"], ["lit", 1]], "paths": ["iteration"]}}


def deploy(engine: Engine) -> None:
    """Three flows that run each other, with a catch, `finally`, waits, tolerant maps, rounds."""
    engine.deploy(
        "leaf",
        {"a": a_step(retry=SOON), "b": a_step("a", retry={"max_attempts": 1})},
        finally_={"clean": a_step(retry=SOON)},
    )
    engine.deploy(
        "middle",
        {
            "poll": a_step(repeat=ROUNDS | {"every": 5, "max": 9}, retry=SOON),
            "each": a_step("poll", map=literal(list(range(9))), retry=SOON, tolerate=2),
            "sub": a_child("leaf", "poll", with_=literal({}), retry={"max_attempts": 2} | SOON),
        },
        finally_={"audit": a_step(retry=SOON), "tell": a_step("audit", retry=SOON)},
        timeout=60_000,
    )
    engine.deploy(
        "top",
        {
            "ok": a_wait(wait={"event": "go", "timeout": 400}, when_exhausted="skip"),
            "subs": a_child(
                "middle", map=path("input.items"), with_=literal({}), max_parallel=2, timeout=4000
            ),
            "catch": a_step(retry=SOON) | {"depends_on": {"subs": "failure"}},
            "join": a_step(retry=SOON)
            | {"depends_on": {"ok": "any", "subs": "any", "catch": "any"}},
        },
        fail_fast=False,
        input={"items": {"type": "array"}},
    )


class Turmoil:
    """Workers of which none is to be trusted, and people who cannot make up their minds."""

    def __init__(self, database: str, runs: list[str], seed: int) -> None:
        self.database = database
        self.runs = runs
        self.chance = random.Random(seed)
        self.over = threading.Event()
        self.errors: list[BaseException] = []

    def thread(self, what: Callable[[Engine, random.Random], None]) -> threading.Thread:
        """Do one thing again and again, on a connection of its own."""
        chance = random.Random(self.chance.random())

        def work() -> None:
            try:
                with psycopg.connect(self.database, autocommit=True) as db:
                    engine = Engine(db)
                    while not self.over.is_set():
                        repeating(lambda: what(engine, chance))
            except BaseException as error:  # noqa: BLE001 (shown by the test)
                self.errors.append(error)

        found = threading.Thread(target=work, daemon=True)
        found.start()
        return found

    def serve(self, engine: Engine, chance: random.Random) -> None:
        """Claim a few tasks; finish, fail, release, repeat or forget each of them."""
        queue = chance.choice(QUEUES)
        results = list[dict[str, Any]]()
        for _ in range(20):
            reply = engine.turn(*results, queue=queue, lease="300 ms", quantity=7)
            results = []
            for task in reply["tasks"]:
                luck = chance.random()
                if luck < 0.02:
                    continue
                if luck < 0.1:
                    kinds = ("failed", "failed", "fatal", "released")
                    results.append(failed(task, chance.choice(kinds)))
                else:
                    results.append(done(task, task.get("iteration", 0)))
                if luck > 0.95:
                    results.append(results[-1])
        engine.turn(*results, queue="none", quantity=0)
        engine.call("sweep", 50)

    def meddle(self, engine: Engine, chance: random.Random) -> None:
        """Send, decide, cancel; what has ended already refuses."""
        run = chance.choice(self.runs)
        calls = [
            ("send_event", run, "go", "1"),
            ("approve_step", run, "ok"),
            ("reject_step", run, "ok"),
        ]
        if chance.random() < 0.03:
            calls = [("cancel_run", engine.one(ANY_RUN))]
        try:
            engine.call(*chance.choice(calls))
        except psycopg.Error as error:
            if error.sqlstate != "PF005":
                raise
        self.over.wait(0.05)


def repeating(call: Callable[[], None]) -> None:
    """R-7: deadlocks are tried again, as the client of a worker does."""
    for _ in range(20):
        try:
            return call()
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            continue
    raise AssertionError("twenty deadlocks one after another")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_run_ends_whatever_happens(engine: Engine, database: str) -> None:
    """No run is stuck, no invariant broken, no turn fails; the seed is printed."""
    seed = int(os.environ.get("PGFLOW_YAML_SEED", "0")) or random.randrange(1, 10**9)
    print("PGFLOW_YAML_SEED =", seed)  # noqa: T201 (shown when the test fails)
    deploy(engine)
    items = json.dumps({"items": [1, 2, 3]})
    runs = [str(engine.call("start_run", "top", items)["run_id"]) for _ in range(40)]
    turmoil = Turmoil(database, runs, seed)

    threads = [turmoil.thread(turmoil.serve) for _ in range(4)]
    threads.append(turmoil.thread(turmoil.meddle))
    deadline = time.monotonic() + 60
    live = "select count(*) from pgflow.runs where status = 'started'"
    while engine.one(live) and time.monotonic() < deadline and not turmoil.errors:
        assert engine.one(ORPHANS) == 0
        turmoil.over.wait(0.1)
    turmoil.over.set()
    for thread in threads:
        thread.join(20)

    assert turmoil.errors == []
    assert engine.one(live) == 0
    assert engine.one("select count(*) from pgflow.runs where depth = 2") > 0
    for queue in ("none", "none"):
        engine.claim(queue)
    assert engine.one("select count(*) from pgmq.q_pgflow__timers where vt < 'infinity'") == 0
