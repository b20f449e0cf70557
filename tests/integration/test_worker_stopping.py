"""Runs that are ending: what still runs is told to stop, says so, and `finally` begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works


@pytest.mark.parametrize("handler", ["wait_until_told", "wait_for_ever"])
def test_finally_begins_when_what_was_told_to_stop_has_stopped(
    works: Works, handler: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at once, and not only when a lease ends: when the worker says so; it is no failure."""
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
    assert [each for each in caplog.messages if each.startswith("attempt failed")] == [
        "attempt failed: ValueError: no"
    ]


def test_what_is_given_back_is_said_again_when_the_database_refuses_once(
    works: Works, db: psycopg.Connection
) -> None:
    """A deadlock at a worker's last words: the task is queued, not left to its lease (R-14)."""
    works.app.write(
        "shop.py", "import threading\ngate = threading.Event()\ndef go(input): gate.wait(20)\n"
    )
    works.deploy("flow: held\nsteps:\n  go: {handler: shop.go}\n")
    run = works.client.start("held")
    worker = works.start()

    def tasks(status: str) -> int:
        return works.client.get(run.id).steps[0].tasks[status]

    eventually(lambda: tasks("started") == 1)
    db.execute(
        """
        create sequence public.faults;
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
