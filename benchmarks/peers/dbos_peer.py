"""DBOS Transact: workflows with steps; a fan-out is child workflows on a queue.

The queue is polled each 0.1 s (the library's default of 1.0 s is slower), 500 workflows at once.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from common import BasePeer, Result, hop_p50, total_tasks

POLL_SECONDS = 0.1
CONCURRENCY = 500


class Peer(BasePeer):
    """Workflows in this process; what is enqueued is worked on while more is enqueued."""

    NAME = "dbos"
    REQUIREMENTS = ("dbos==3.4.0",)
    ROUNDS = 1
    LIMITS: ClassVar = {"fanout": 1000, "diamonds": 200, "backlog": 1000}

    def setup(self) -> None:
        """Connect, install and launch."""
        from dbos import DBOS, DBOSClient

        url = self.dsn.replace("postgresql://", "postgresql+psycopg://")
        config = {"name": "bench", "system_database_url": url, "log_level": "ERROR"}
        DBOS(config={**config, "application_version": "1"})
        self._stamps: list[float] = []
        self._define(DBOS)
        DBOS.launch()
        DBOS.register_queue(
            "bench", worker_concurrency=CONCURRENCY, polling_interval_sec=POLL_SECONDS
        )
        self._dbos, self._client = DBOS, DBOSClient(system_database_url=url)

    def _define(self, dbos: Any) -> None:
        def stamp(value: Any) -> Any:
            self._stamps.append(time.perf_counter())
            return {"ok": value}

        step = dbos.step()(stamp)

        def chain(n: int) -> None:
            for i in range(n):
                step(i)

        def fanout(n: int) -> Any:
            step("root")
            handles = [dbos.enqueue_workflow("bench", job, i) for i in range(n)]
            return step(len([handle.get_result() for handle in handles]))

        def diamond(_: int) -> Any:
            for slug in ("fetch", "analyze", "summarize"):
                step(slug)
            return step("save")

        job = dbos.workflow(name="job")(lambda i: {"ok": i})
        self._chain = dbos.workflow(name="chain")(chain)
        self._fanout = dbos.workflow(name="fanout")(fanout)
        dbos.workflow(name="diamond")(diamond)

    def close(self) -> None:
        """Disconnect."""
        self._client.destroy()
        self._dbos.destroy()

    def chain(self, n: int) -> Result:
        """One workflow of n steps."""
        began = time.perf_counter()
        self._chain(n)
        return Result(n, time.perf_counter() - began, hop_ms_p50=hop_p50(self._stamps))

    def fanout(self, n: int) -> Result:
        """A workflow that enqueues n others and waits for them."""
        began = time.perf_counter()
        self._fanout(n)
        return Result(total_tasks("fanout", n), time.perf_counter() - began)

    def diamonds(self, n: int) -> Result:
        """N workflows of four steps, one after the other in each."""
        return self._queued("diamonds", "diamond", n)

    def backlog(self, n: int) -> Result:
        """N workflows without a step."""
        return self._queued("backlog", "job", n)

    def _queued(self, workload: str, workflow: str, n: int) -> Result:
        options = {"workflow_name": workflow, "queue_name": "bench", "app_version": "1"}
        began = time.perf_counter()
        handles = [self._client.enqueue(options, i) for i in range(n)]
        enqueued = time.perf_counter()
        for handle in handles[::-1][:1] + handles:
            handle.get_result(polling_interval_sec=0.05)
        seconds = time.perf_counter() - began
        return Result(total_tasks(workload, n), seconds, n, enqueued - began)
