"""Absurd: durable tasks with checkpointed steps; a fan-out spawns children in a second queue.

Its defaults: ten tasks at a time, a poll each 0.25 s. The steps of one task run in one process
without a queue between them, so its hop is a checkpoint.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

from common import BasePeer, Result, hop_p50, total_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

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
        """Connect and install."""
        import absurdctl
        import psycopg
        from absurd_sdk import Absurd

        self._conn = psycopg.connect(self.dsn, autocommit=True)
        self._conn.execute(absurdctl.BUNDLED_SCHEMA_SQL)
        self._sender = Absurd(self._conn, queue_name="bench")
        self._apps = {name: Absurd(self.dsn, queue_name=name) for name in ("bench", "children")}
        self._stamps: list[float] = []
        self._left, self._done, self._lock = 0, threading.Event(), threading.Lock()
        for name, app in self._apps.items():
            app.create_queue(name)
        tasks: dict[str, Callable[[Params, Any], Any]] = {
            "chain": self._chain,
            "diamond": self._diamond,
            "job": self._job,
            "fanout": self._fanout,
        }
        for name, function in tasks.items():
            self._apps["bench"].register_task(name=name)(function)
        self._apps["children"].register_task(name="child")(lambda _, __: {"ok": True})

    def _step(self, ctx: Any, name: str) -> None:
        self._stamps.append(time.perf_counter())
        ctx.step(name, lambda: {"ok": True})

    def _finished(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._done.set()

    def _chain(self, params: Params, ctx: Any) -> None:
        for i in range(params["n"]):
            self._step(ctx, f"s{i}")
        self._finished()

    def _diamond(self, _: Params, ctx: Any) -> None:
        for name in ("fetch", "analyze", "summarize", "save"):
            self._step(ctx, name)
        self._finished()

    def _job(self, _: Params, __: Any) -> Params:
        self._finished()
        return {"ok": True}

    def _fanout(self, params: Params, ctx: Any) -> None:
        self._step(ctx, "root")
        spawn = self._sender.spawn
        ids = [spawn("child", {"i": i}, queue="children")["task_id"] for i in range(params["n"])]
        for task_id in ids:
            ctx.await_task_result(task_id, queue_name="children")
        self._step(ctx, "reduce")
        self._finished()

    def close(self) -> None:
        """Disconnect."""
        self._conn.close()
        for app in self._apps.values():
            app.close()

    def chain(self, n: int) -> Result:
        """One task of n steps."""
        return self._run("chain", "chain", n, count=1)

    def fanout(self, n: int) -> Result:
        """A task that spawns n children and waits for them."""
        return self._run("fanout", "fanout", n, count=1)

    def diamonds(self, n: int) -> Result:
        """N tasks of four steps, one after the other in each."""
        return self._run("diamonds", "diamond", n, count=n)

    def backlog(self, n: int) -> Result:
        """N tasks without a step."""
        return self._run("backlog", "job", n, count=n)

    def _run(self, workload: str, task: str, n: int, *, count: int) -> Result:
        self._left = count
        began = time.perf_counter()
        with self._conn.transaction():
            for i in range(count):
                self._sender.spawn(task, {"n": n, "i": i}, queue="bench")
        enqueued = time.perf_counter()
        work = {"concurrency": CONCURRENCY, "poll_interval": POLL_SECONDS}
        apps = self._apps.values()
        threads = [threading.Thread(target=app.start_worker, kwargs=work) for app in apps]
        for thread in threads:
            thread.start()
        self._done.wait()
        seconds = time.perf_counter() - enqueued
        for app in apps:
            app.stop_worker()
        for thread in threads:
            thread.join()
        hops = hop_p50(self._stamps) if workload == "chain" else None
        return Result(total_tasks(workload, n), seconds, count, enqueued - began, hops)
