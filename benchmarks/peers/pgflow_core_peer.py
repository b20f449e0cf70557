"""pgflow's own SQL core under a minimal worker with the defaults of its edge worker.

The worker polls ten messages, starts them, completes each in a commit of its own, ten at a time
over four connections, and polls again once all ten are done. `realtime.send` does nothing here.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from typing import Any, ClassVar

from common import BasePeer, Result, hop_p50, total_tasks

BATCH = 10
CONNECTIONS = 4

STAND_INS = """
create schema if not exists realtime;
create function realtime.send(jsonb, text, text, boolean) returns void
language plpgsql as $$ begin end $$;
create schema if not exists cron;
create function cron.schedule(text, text, text) returns bigint
language sql as $$ select 0::bigint $$;
create function cron.unschedule(text) returns boolean language sql as $$ select true $$;
create schema if not exists net;
create schema if not exists vault;
"""
EXTENSION = re.compile(r"(?im)^\s*create\s+extension[^;]*;")

Steps = list[tuple[str, list[str], str]]
Rows = list[tuple[Any, ...]]


class Peer(BasePeer):
    """The package's migrations in an empty database with pgmq."""

    NAME = "pgflow core"
    REQUIREMENTS = ("psycopg[binary]==3.3.9",)
    NPM = "@pgflow/core@0.8.1"
    PGMQ = True
    ROUNDS = 2
    LIMITS: ClassVar = {"fanout": 2000, "backlog": 2000}

    def setup(self) -> None:
        """Connect and apply its migrations, without the extensions of its host."""
        import psycopg
        from psycopg.types.json import Jsonb

        self._psycopg, self._json = psycopg, Jsonb
        self._conn = psycopg.connect(self.dsn, autocommit=True)
        self._conn.execute(STAND_INS)
        if self.package is None:
            raise ValueError(f"the folder of {self.NPM} is not given")
        found = self.package.glob("**/supabase/migrations/*.sql")
        for path in sorted(found, key=lambda path: path.name):
            self._conn.execute(EXTENSION.sub("", path.read_text()).encode())
        self._worker_id = uuid.uuid4()
        register = "insert into pgflow.workers (worker_id, queue_name, function_name) "
        self._conn.execute(register + "values (%s, 'bench', 'bench')", [self._worker_id])

    def close(self) -> None:
        """Disconnect."""
        self._conn.close()

    def chain(self, n: int) -> Result:
        """N steps, each behind the one before."""
        steps = [(f"s{i}", [f"s{i - 1}"] if i else [], "single") for i in range(n)]
        return self._run("chain", n, steps)

    def fanout(self, n: int) -> Result:
        """One step, one task for each item of its output, one step behind them all."""
        steps: Steps = [("root", [], "single"), ("each", ["root"], "map")]
        return self._run("fanout", n, [*steps, ("last", ["each"], "single")])

    def diamonds(self, n: int) -> Result:
        """N runs of four steps."""
        steps: Steps = [("fetch", [], "single")]
        steps += [(slug, ["fetch"], "single") for slug in ("analyze", "summarize")]
        return self._run("diamonds", n, [*steps, ("save", ["analyze", "summarize"], "single")])

    def backlog(self, n: int) -> Result:
        """N runs of one step."""
        return self._run("backlog", n, [("job", [], "single")])

    def _run(self, workload: str, n: int, steps: Steps) -> Result:
        self._define(steps)
        self._width, self._stamps = n, list[float]()
        runs = n if workload in ("diamonds", "backlog") else 1
        began = time.perf_counter()
        with self._conn.cursor() as cursor, self._conn.transaction():
            start = "select pgflow.start_flow('bench', %s)"
            cursor.executemany(start, [[self._json({"run": i})] for i in range(runs)])
        enqueued = time.perf_counter()
        asyncio.run(self._drain(total_tasks(workload, n)))
        seconds = time.perf_counter() - enqueued
        left = "select 1 from pgflow.runs where status <> 'completed' limit 1"
        if self._conn.execute(left).fetchone() is not None:
            raise RuntimeError("a run of pgflow is not completed")
        hops = hop_p50(self._stamps) if workload == "chain" else None
        return Result(total_tasks(workload, n), seconds, runs, enqueued - began, hops)

    def _define(self, steps: Steps) -> None:
        self._conn.execute("select pgflow.create_flow('bench')")
        add = "select pgflow.add_step('bench', %s, %s::text[], step_type => %s)"
        for step in steps:
            self._conn.execute(add, step)

    async def _drain(self, total: int) -> None:
        self._pool: asyncio.Queue[Any] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            connect = self._psycopg.AsyncConnection.connect
            self._pool.put_nowait(await connect(self.dsn, autocommit=True))
        finished = 0
        while finished < total:
            poll = "select msg_id from pgmq.read_with_poll('bench', 2, %s, 2, 100)"
            ids = [row[0] for row in await self._query(poll, [BATCH])]
            if not ids:
                continue
            start = "select run_id, step_slug, task_index from pgflow.start_tasks('bench', %s, %s)"
            tasks = await self._query(start, [ids, self._worker_id])
            await asyncio.gather(*(self._complete(task) for task in tasks))
            finished += len(tasks)
        while not self._pool.empty():
            await self._pool.get_nowait().close()

    async def _query(self, sql: str, params: list[Any]) -> Rows:
        conn = await self._pool.get()
        try:
            rows: Rows = await (await conn.execute(sql, params)).fetchall()
            return rows
        finally:
            self._pool.put_nowait(conn)

    async def _complete(self, task: tuple[Any, ...]) -> None:
        run_id, slug, index = task
        self._stamps.append(time.perf_counter())
        output = self._json(list(range(self._width)) if slug == "root" else {"ok": True})
        sql = "select 1 from pgflow.complete_task(%s, %s, %s, %s)"
        await self._query(sql, [run_id, slug, index, output])
