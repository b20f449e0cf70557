"""Absurd: durable tasks with checkpointed steps; a fan-out spawns children in a second queue.

Its defaults: ten tasks at a time, a poll each 0.25 s. The steps of one task run in one process
without a queue between them, so its hop is a checkpoint.
"""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

from peer import BasePeer, Workload

CONCURRENCY = 10
POLL_SECONDS = 0.25

Params = dict[str, Any]


class Peer(BasePeer):
    """Two workers in threads, one for each queue."""

    NAME = "absurd"
    REQUIREMENTS = ("absurd-sdk==0.5.1", "absurdctl==0.5.1", "psycopg[binary]==3.3.9")
    ROUNDS = 1
    LIMITS: ClassVar = {"fanout": 1000, "diamonds": 500, "backlog": 2000}

    def setup(self) -> None:
        import absurdctl
        import psycopg
        from absurd_sdk import Absurd

        self._conn = psycopg.connect(self.dsn, autocommit=True)
        self._conn.execute(absurdctl.BUNDLED_SCHEMA_SQL)
        self._sender = Absurd(self._conn, queue_name="bench")
        self._apps = {name: Absurd(self.dsn, queue_name=name) for name in ("bench", "children")}
        self._left, self._done, self._lock = 0, threading.Event(), threading.Lock()
        for name, app in self._apps.items():
            app.create_queue(name)
        for name in ("chain", "fanout", "diamonds", "backlog"):
            self._apps["bench"].register_task(name=name)(self._counted(getattr(self, f"_{name}")))
        self._apps["children"].register_task(name="child")(lambda _, __: {"ok": True})

    def _counted(self, work: Any) -> Any:
        def task(params: Params, ctx: Any) -> Params:
            work(params["n"], ctx)
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    self._done.set()
            return {"ok": True}

        return task

    def _step(self, ctx: Any, name: str) -> None:
        self.stamps.append(time.perf_counter())
        ctx.step(name, lambda: {"ok": True})

    def _chain(self, n: int, ctx: Any) -> None:
        for i in range(n):
            self._step(ctx, f"s{i}")

    def _fanout(self, n: int, ctx: Any) -> None:
        self._step(ctx, "root")
        spawn = self._sender.spawn
        for task_id in [spawn("child", {"i": i}, queue="children")["task_id"] for i in range(n)]:
            ctx.await_task_result(task_id, queue_name="children")
        self._step(ctx, "last")

    def _diamonds(self, _: int, ctx: Any) -> None:
        for name in ("fetch", "analyze", "summarize", "save"):
            self._step(ctx, name)

    def _backlog(self, _: int, __: Any) -> None:
        """Do nothing: a task without a step."""

    def run(self, workload: Workload) -> float:
        self._left = workload.runs
        with self._conn.transaction():
            for i in range(workload.runs):
                self._sender.spawn(workload.name, {"n": workload.size, "i": i}, queue="bench")
        began = time.perf_counter()
        work = {"concurrency": CONCURRENCY, "poll_interval": POLL_SECONDS}
        apps = self._apps.values()
        threads = [threading.Thread(target=app.start_worker, kwargs=work) for app in apps]
        for thread in threads:
            thread.start()
        self._done.wait()
        seconds = time.perf_counter() - began
        for app in apps:
            app.stop_worker()
        for thread in threads:
            thread.join()
        return seconds

    def close(self) -> None:
        self._conn.close()
        for app in self._apps.values():
            app.close()
