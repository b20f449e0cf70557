"""A database with a table of effects, and handlers with `tx` that write into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works

HANDLERS = """
import asyncio
import time
from pathlib import Path
import psycopg

HERE = Path(__file__).parent
calls = []

def write(tx, ctx):
    tx.execute("insert into effects values (%s, %s, %s, %s)",
               [ctx.run_id, ctx.step, ctx.index, ctx.fence])

async def awrite(tx, ctx):
    await tx.execute("insert into effects values (%s, %s, %s, %s)",
                     [ctx.run_id, ctx.step, ctx.index, ctx.fence])

def put(item, ctx, *, tx: psycopg.Connection):
    write(tx, ctx)
    return item

async def aput(item, ctx, *, tx: psycopg.AsyncConnection):
    await awrite(tx, ctx)
    return item

def once_more(item, ctx, *, tx):
    write(tx, ctx)
    calls.append(ctx.attempt)
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return ctx.attempt

async def aonce_more(item, ctx, *, tx):
    await awrite(tx, ctx)
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return ctx.attempt

def round_(item, ctx, *, tx):
    write(tx, ctx)
    return ctx.iteration

def no_json(item, ctx, *, tx):
    write(tx, ctx)
    return {1, 2}

def ends_it(item, ctx, *, tx):
    write(tx, ctx)
    tx.execute("rollback")
    tx.execute("begin")

def leaves_it(item, ctx, *, tx):
    tx.execute("rollback")
    tx.execute("insert into effects values (%s, %s, pg_backend_pid(), 0)", [ctx.run_id, ctx.step])

async def aleaves_it(item, ctx, *, tx):
    await tx.execute("rollback")
    await tx.execute("insert into effects values (%s, 'go', pg_backend_pid(), 0)", [ctx.run_id])

def pid(item, ctx, *, tx):
    return tx.info.backend_pid

async def apid(item, ctx, *, tx):
    return tx.info.backend_pid

def commits_it(item, ctx, *, tx):
    tx.commit()

def swallows(item, ctx, *, tx):
    write(tx, ctx)
    try:
        tx.execute("select 1 / 0")
    except psycopg.Error:
        pass

def contains(item, ctx, *, tx):
    write(tx, ctx)
    try:
        with tx.transaction():
            tx.execute("select 1 / 0")
    except psycopg.Error:
        return "went on"

def deferred(item, ctx, *, tx):
    tx.execute("insert into parts values (7)")

def limits(item, ctx, *, tx):
    tx.execute("set local role none")
    tx.execute("set search_path = nowhere")
    tx.execute("select pg_advisory_lock(4711)")
    tx.execute("create temporary table mine (a int)")
    tx.execute("set application_name = 'mine'")
    tx.execute("set local lock_timeout = 1")
    tx.execute("set local statement_timeout = 1")
    tx.row_factory = psycopg.rows.dict_row
    return tx.info.backend_pid

def settings(item, *, tx):
    row = tx.execute(
        "select current_setting('search_path'), pg_backend_pid(), to_regclass('mine')::text,"
        " (select count(*) from pg_locks where locktype = 'advisory')"
    ).fetchone()
    return list(row)

def waits(item, ctx, *, tx):
    write(tx, ctx)
    while not (HERE / "gate").exists():
        time.sleep(0.01)

def sleeps(item, ctx, *, tx):
    write(tx, ctx)
    tx.execute("select pg_sleep(50)")

async def asleeps(item, ctx, *, tx):
    await awrite(tx, ctx)
    await tx.execute("select pg_sleep(50)")

async def breaks_loop(item, ctx, *, tx):
    await awrite(tx, ctx)
    calls.append(asyncio.current_task())
    asyncio.get_running_loop()._run_once = lambda: 1 / 0
    await asyncio.Event().wait()

def loses(item, ctx, *, tx):
    write(tx, ctx)
    calls.append(ctx.fence)
    if len(calls) < 3:
        tx.execute("select pg_terminate_backend(pg_backend_pid())")
    return ctx.attempt

def positional(item, tx: psycopg.Connection): pass
def wrong_kind(item, *, tx: psycopg.AsyncConnection): pass
def as_data(item, tx="mine"): return [item, tx]
"""
FLOW = """
flow: charge
input: {{items: {{type: array, default: [1]}}}}
steps:
  go: {{handler: shop.{handler}, map: input.items{more}}}
"""


class Shop:
    """A flow whose map calls a handler, and the table that the handlers write to."""

    def __init__(self, works: Works, db: psycopg.Connection) -> None:
        self.works, self.db = works, db
        works.app.write("shop.py", HANDLERS)
        db.execute("create table public.effects (run_id uuid, step text, index int, fence int)")
        db.execute("create table public.wholes (id int primary key)")
        db.execute("create table public.parts (whole int references wholes initially deferred)")
        db.execute("grant all on effects, parts, wholes to public")

    def start(self, handler: str, items: list[Any] | None = None, more: str = "") -> str:
        """Start a run of a flow with this handler; return its id."""
        self.works.deploy(FLOW.format(handler=handler, more=more))
        return self.works.client.start("charge", {} if items is None else {"items": items}).id

    def run(self, handler: str, items: list[Any] | None = None, more: str = "") -> Any:
        """Run a flow with this handler to its end."""
        run_id = self.start(handler, items, more)
        self.works.drain()
        return self.works.client.get(run_id)

    @property
    def effects(self) -> list[tuple[int, int]]:
        """The index and fence of each row that was written."""
        return self.db.execute("select index, fence from effects order by 1, 2").fetchall()

    @property
    def completed(self) -> list[tuple[int, int]]:
        """The index and fence of each completed task."""
        return self.db.execute(
            "select task_index, attempts_count from pgflow.step_tasks "
            "where status = 'completed' order by 1, 2"
        ).fetchall()

    def error(self, run: Any) -> tuple[str, str]:
        """The type and message of the error of a failed run."""
        assert run.status == "failed"
        return run.error["type"], run.error["message"]
