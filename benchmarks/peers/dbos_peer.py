"""DBOS Transact: workflows with steps; a fan-out is child workflows on a queue.

The queue is polled each 0.1 s (the library's default of 1.0 s is slower), 500 workflows at once.
Their chain and fan-out run in this process; N diamonds and N single steps are worked on while
more are enqueued, so that is timed as well.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from peer import BasePeer, Workload

POLL_SECONDS = 0.1
CONCURRENCY = 500


class Peer(BasePeer):
    """One process that enqueues and works."""

    NAME = "dbos"
    REQUIREMENTS = ("dbos==3.4.0",)
    ROUNDS = 1
    LIMITS: ClassVar = {"fanout": 1000, "diamonds": 200, "backlog": 1000}

    def setup(self) -> None:
        from dbos import DBOS, DBOSClient

        url = self.dsn.replace("postgresql://", "postgresql+psycopg://")
        config = {"name": "bench", "system_database_url": url, "log_level": "ERROR"}
        DBOS(config={**config, "application_version": "1"})
        self._direct = self._workflows(DBOS)
        DBOS.launch()
        DBOS.register_queue(
            "bench", worker_concurrency=CONCURRENCY, polling_interval_sec=POLL_SECONDS
        )
        self._dbos, self._client = DBOS, DBOSClient(system_database_url=url)

    def _workflows(self, dbos: Any) -> dict[str, Any]:
        """Register all four; return those that are called directly."""

        def stamp(value: Any) -> Any:
            self.stamps.append(time.perf_counter())
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

        job = dbos.workflow(name="backlog")(lambda i: {"ok": i})
        dbos.workflow(name="diamonds")(diamond)
        return {f.__name__: dbos.workflow(name=f.__name__)(f) for f in (chain, fanout)}

    def run(self, workload: Workload) -> float:
        began = time.perf_counter()
        if workload.name in self._direct:
            self._direct[workload.name](workload.size)
            return time.perf_counter() - began
        options = {"workflow_name": workload.name, "queue_name": "bench", "app_version": "1"}
        handles = [self._client.enqueue(options, i) for i in range(workload.runs)]
        for handle in [handles[-1], *handles]:
            handle.get_result(polling_interval_sec=0.05)
        return time.perf_counter() - began

    def close(self) -> None:
        self._client.destroy()
        self._dbos.destroy()
