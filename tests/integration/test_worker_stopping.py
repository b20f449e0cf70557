"""Runs that are ending: running handlers are cancelled, report it, and `finally` begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from pgflow_yaml.worker.executors import pool
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works


@pytest.mark.parametrize("handler", ["wait_until_told", "wait_for_ever"])
def test_finally_begins_when_cancelled_handlers_have_stopped(
    works: Works, handler: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither at once nor when a lease ends, but when the worker reports it; that is no failure."""
    works.app.write(
        "shop.py",
        """
        import asyncio, threading
        log, started = [], threading.Event()
        def fail(input):
            started.wait(10)
            raise ValueError("no")
        def wait_until_told(input, ctx):
            started.set()
            while not ctx.cancelled:
                threading.Event().wait(0.01)
            log.append("stopped")
        async def wait_for_ever(input):
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                log.append("stopped")
        def audit(input):
            log.append("audit")
        """,
    )
    works.deploy(
        f"""
        flow: ending
        steps:
          fail: {{handler: shop.fail, retry: 1}}
          wait: {{handler: shop.{handler}, timeout: 1h}}
        finally:
          audit: {{handler: shop.audit}}
        """
    )
    run = works.client.start("ending")

    works.start(lease_seconds=3)

    assert works.ended(run.id).status == "failed"
    import shop  # type: ignore[import-not-found]

    assert shop.log == ["stopped", "audit"]
    assert [message for message in caplog.messages if message.startswith("attempt failed")] == [
        "attempt failed: ValueError: no"
    ]


@pytest.mark.parametrize("handler", ["deaf", "deaf_async"])
def test_handlers_that_do_not_stop_hold_up_nobody(
    works: Works, monkeypatch: pytest.MonkeyPatch, handler: str
) -> None:
    """Other runs get their slots after a moment, and `finally` begins after a lease at most."""
    monkeypatch.setattr(pool, "DEAF_SECONDS", 0.2)
    works.app.write(
        "shop.py",
        """
        import asyncio, threading
        release, begun = threading.Event(), threading.Semaphore(0)
        def deaf(input):
            begun.release()
            release.wait(20)
        async def deaf_async(input):
            begun.release()
            while not release.is_set():
                try: await asyncio.sleep(0.01)
                except asyncio.CancelledError: pass
        async def quick(input): return "quick"
        """,
    )
    works.deploy(
        f"""
        flow: ending
        steps:
          hear_nothing: {{handler: shop.{handler}, map: range(2), timeout: 1h}}
        finally:
          audit: {{handler: shop.quick}}
        """
    )
    works.deploy("flow: other\nsteps:\n  go: {handler: shop.quick}\n")
    run = works.client.start("ending")
    works.start(concurrency=2, lease_seconds=2)
    import shop

    eventually(lambda: shop.begun.acquire(blocking=False), what="one handler begins")
    eventually(lambda: shop.begun.acquire(blocking=False), what="both handlers begin")

    works.client.cancel(run.id)

    assert works.ended(works.client.start("other").id, seconds=10).status == "completed"
    assert works.client.get(run.id).status == "started"
    ended = works.ended(run.id, seconds=10)
    assert {step.slug: step.status for step in ended.steps} == {
        "hear_nothing": "cancelled",
        "audit": "completed",
    }
    assert not shop.release.is_set()
    shop.release.set()


def test_a_refused_release_is_repeated(works: Works, db: psycopg.Connection) -> None:
    """A deadlock at a worker's last report: the task is queued, not left to its lease (R-14)."""
    works.app.write(
        "shop.py", "import threading\ngate = threading.Event()\ndef go(input): gate.wait(20)\n"
    )
    works.deploy("flow: held\nsteps:\n  go: {handler: shop.go}\n")
    run = works.client.start("held")
    worker = works.start()

    def tasks(status: Literal["queued", "started"]) -> int:
        return works.client.get(run.id).steps[0].tasks[status]

    eventually(lambda: tasks("started") == 1)
    db.execute(
        """
        create sequence public.faults;
        grant usage on sequence public.faults to public;
        create function public.fault() returns trigger language plpgsql as $$
        begin
          if new.status = 'queued' and nextval('public.faults') = 1 then
            raise exception using errcode = '40P01', message = 'injected';
          end if;
          return new;
        end $$;
        create trigger fault before update on pgflow.step_tasks
        for each row execute function public.fault()
        """
    )

    worker.stop(now=True)

    eventually(lambda: tasks("queued") == 1, seconds=5)
    import shop

    shop.gate.set()
