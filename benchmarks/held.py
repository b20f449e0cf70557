"""What a worker of an engine holds, and what an autoscaler asks for: X-G6 and X-G9.

.venv/bin/python benchmarks/held.py           # two minutes; `make bench-scale` runs it, too
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Executor, Future
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from figures import Spread, Target, target_table
from server import WORK, Server

from pgflow_yaml import Client, Worker
from pgflow_yaml.database import migrate
from pgflow_yaml.project.files import compile_content
from pgflow_yaml.worker.engines.schemes import engine_of
from pgflow_yaml.worker.executors import InEngine

if TYPE_CHECKING:
    from collections.abc import Callable

IN_FLIGHT = 5_000
WINDOW = 1_000  # items of a map that are sent at once
TASKS = 100_000
MESSAGES = 1_000_000
_CALL_SECONDS = 0.5
FLOW = """
flow: held
input: {n: {type: integer}}
steps:
  numbers: {handler: app.numbers}
  each: {handler: app.nothing, depends_on: [numbers], map: steps.numbers.output}
"""
APP = "def numbers(input): return list(range(input['n']))\ndef nothing(item): return item\n"
FILL = """
insert into pgmq.q_held (vt, message)
select clock_timestamp(), '{"run": "00000000-0000-0000-0000-000000000000"}'
from generate_series(1, %s)
"""


class Later(Executor):
    """An engine far away: each call returns half a second after its submission."""

    _max_workers = IN_FLIGHT

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[float, Future[Any], Callable[..., Any], tuple[Any, ...]]] = (
            SimpleQueue()
        )
        Thread(target=self._work, daemon=True).start()

    def submit(  # type: ignore[override]
        self, fn: Callable[..., Any], /, *args: object
    ) -> Future[Any]:
        """Queue a call."""
        future: Future[Any] = Future()
        self._calls.put((time.monotonic() + _CALL_SECONDS, future, fn, args))
        return future

    def _work(self) -> None:
        while True:
            due, future, function, arguments = self._calls.get()
            time.sleep(max(0.0, due - time.monotonic()))
            future.set_result(function(*arguments))


def heartbeats(db: psycopg.Connection, client: Client) -> list[Target]:
    """Time the heartbeat of a worker that holds 1,000 and 5,000 tasks."""
    targets = []
    for count, most in ((1_000, 30), (IN_FLIGHT, 150)):
        worker = str(uuid4())
        db.execute("select pgflow.register_worker(%s::uuid, null, '{}')", [worker])
        for _ in range(count // WINDOW):
            client.start("held", {"n": WINDOW})
        roots = [_reference(task) for task in _claimed(db, worker, count // WINDOW)]
        done = {"outcome": "completed", "output": list(range(WINDOW))}
        _report(db, worker, [{**root, **done} for root in roots])
        held = _held(db, worker, count)
        assert len(held) == count, len(held)
        text = json.dumps(held)
        query = "select pgflow.heartbeat(%s::uuid, '30 s', %s::jsonb)"
        seconds = [_seconds(db, query, worker, text) for _ in range(7)]
        spread = Spread.of([1000 * second for second in seconds])
        targets.append(Target(f"heartbeat of {count:,} tasks", spread, most, None, "less", "ms"))
    return targets


def _held(db: psycopg.Connection, worker: str, count: int) -> list[dict[str, Any]]:
    held: list[dict[str, Any]] = []
    while len(held) < count and (tasks := _claimed(db, worker, min(500, count - len(held)))):
        held += [_reference(task) for task in tasks]
    return held


def _claimed(db: psycopg.Connection, worker: str, quantity: int) -> list[dict[str, Any]]:
    query = "select pgflow.turn(%s::uuid, '[]', array['held'], %s, '1 h', '{}', '{}')"
    (reply,) = db.execute(query, [worker, quantity]).fetchone() or ({"tasks": []},)
    tasks: list[dict[str, Any]] = reply["tasks"]
    return tasks


def _report(db: psycopg.Connection, worker: str, results: list[dict[str, Any]]) -> None:
    query = "select pgflow.turn(%s::uuid, %s::jsonb, array['held'], 0, '1 h', '{}', '{}')"
    db.execute(query, [worker, json.dumps(results)])


def _reference(task: dict[str, Any]) -> dict[str, Any]:
    return {name: task[name] for name in ("run", "step", "index", "attempt")}


def _seconds(db: psycopg.Connection, query: str, *arguments: object) -> float:
    began = time.perf_counter()
    db.execute(query.encode(), arguments)
    return time.perf_counter() - began


def waiting(db: psycopg.Connection) -> list[Target]:
    """Time the question of an autoscaler beside a long queue."""
    db.execute(FILL.encode(), [MESSAGES])
    db.execute("vacuum analyze pgmq.q_held")
    query = "select pgflow.work_waiting(array['held'])"
    seconds = [_seconds(db, query) for _ in range(7)]
    spread = Spread.of([1000 * second for second in seconds])
    db.execute("truncate pgmq.q_held")
    return [Target(f"work_waiting beside {MESSAGES:,} messages", spread, 3, None, "less", "ms")]


def memory(uri: str, client: Client, app: Path) -> list[Target]:
    """Measure a worker with 5,000 calls in flight, and again after 100,000 tasks."""
    for _ in range(TASKS // WINDOW):
        client.start("held", {"n": WINDOW})
    words = [sys.executable, __file__, "--worker", uri, str(app)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    most, full, grown = (Spread.of([n]) for n in json.loads(done.stdout.splitlines()[-1]))
    return [
        Target(f"calls in flight at most (goal {IN_FLIGHT:,})", most, 0.9 * IN_FLIGHT),
        Target("memory with them", full, 150, None, "less", "MiB"),
        Target(
            f"more memory from {TASKS // 2:,} to {TASKS:,} tasks", grown, 15, None, "less", "MiB"
        ),
    ]


def work(uri: str, app: Path) -> None:
    """Be that worker; print the most calls, its memory with about as many, and how that grew."""
    engine = InEngine(make=lambda: engine_of("python:held.Later", app))
    worker = Worker(uri, app_dir=app, executor=engine, burst=True, notify=False)
    seen = {"full": 0.0, "early": 0.0, "most": 0}
    pool = worker._pool  # noqa: SLF001 (no public number says it)

    def look() -> None:
        while True:
            count = len(pool.running)
            seen["most"] = max(seen["most"], count)
            if count > 0.9 * IN_FLIGHT:
                seen["full"] = max(seen["full"], _mebibytes())
            if not seen["early"] and pool.results.count > TASKS / 2:
                seen["early"] = _mebibytes()
            time.sleep(0.05)

    Thread(target=look, daemon=True).start()
    worker.run()
    grown = _mebibytes() - seen["early"]
    print(json.dumps([seen["most"], seen["full"], grown]))


def _mebibytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def measured() -> list[Target]:
    """Measure all of it on a server of its own."""
    server = Server(WORK)
    try:
        name, uri = server.fresh(with_pgmq=False)
        migrate.apply(uri)
        with (
            tempfile.TemporaryDirectory() as folder,
            psycopg.connect(uri, autocommit=True) as db,
            Client(uri) as client,
        ):
            (Path(folder) / "app.py").write_text(APP)
            client.deploy(compile_content(FLOW.encode(), file="a flow").require())
            targets = heartbeats(db, client) + waiting(db)
            db.execute("truncate pgflow.runs cascade")
            db.execute("vacuum")
            targets += memory(uri, client, Path(folder))
        server.drop(name)
    finally:
        server.close()
    return targets


if __name__ == "__main__":
    if "--worker" in sys.argv:
        import os

        os.environ["PGFLOW_YAML_APP_DIR"] = sys.argv[3]
        work(sys.argv[2], Path(sys.argv[3]))
    else:
        print(target_table(measured()))
