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

from peer import BasePeer, Workload

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
        import psycopg
        from psycopg.types.json import Jsonb

        self._psycopg, self._json = psycopg, Jsonb
        self._conn = psycopg.connect(self.dsn, autocommit=True)
        self._conn.execute(STAND_INS)
        if self.package is None:
            raise ValueError(f"the folder of {self.NPM} is not given")
        files = self.package.glob("**/supabase/migrations/*.sql")
        for path in sorted(files, key=lambda path: path.name):
            self._conn.execute(EXTENSION.sub("", path.read_text()).encode())
        self._worker_id = uuid.uuid4()
        register = "insert into pgflow.workers (worker_id, queue_name, function_name) "
        self._conn.execute(register + "values (%s, 'bench', 'bench')", [self._worker_id])

    def close(self) -> None:
        self._conn.close()

    def run(self, workload: Workload) -> float:
        self._conn.execute("select pgflow.create_flow('bench')")
        add = "select pgflow.add_step('bench', %s, %s::text[], step_type => %s)"
        for step in workload.steps:
            kind = "single" if step.items is None else "map"
            self._conn.execute(add, [step.slug, list(step.after), kind])
        self._width = workload.size
        with self._conn.cursor() as cursor, self._conn.transaction():
            start = "select pgflow.start_flow('bench', %s)"
            cursor.executemany(start, [[self._json({"run": i})] for i in range(workload.runs)])
        began = time.perf_counter()
        asyncio.run(self._drain(workload.tasks))
        seconds = time.perf_counter() - began
        left = "select 1 from pgflow.runs where status <> 'completed' limit 1"
        if self._conn.execute(left).fetchone() is not None:
            raise RuntimeError("a run of pgflow is not completed")
        return seconds

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
        self.stamps.append(time.perf_counter())
        output = self._json(list(range(self._width)) if slug == "root" else {"ok": True})
        sql = "select 1 from pgflow.complete_task(%s, %s, %s, %s)"
        await self._query(sql, [run_id, slug, index, output])
