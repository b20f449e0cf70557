"""Handlers whose time is up or whose result is no longer wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.worker.executors import event_loop, pool
from tests.fixtures.waiting import eventually
from tests.heavy_expressions import environment

if TYPE_CHECKING:
    from tests.fixtures.working import Works

DEAF = """
import asyncio, threading
release = threading.Event()
def deaf(i): release.wait(20)
async def deaf_async(i):
    while not release.is_set():
        try: await asyncio.sleep(0.01)
        except asyncio.CancelledError: pass
def later(): return "later"
async def later_async(): return "later"
"""


def test_an_attempt_ends_at_its_timeout(works: Works) -> None:
    """The handler is cancelled, its late result dropped; another thread takes its place."""
    works.app.write(
        "shop.py",
        """
        import threading
        told, done = threading.Event(), threading.Event()
        def slow(input, ctx):
            while not ctx.cancelled:
                done.wait(0.01)
            told.set()
            return "late"
        async def slow_async(input):
            import asyncio
            try:
                await asyncio.Event().wait()
            finally:
                done.set()
        """,
    )
    works.deploy(
        """
        flow: slow
        steps:
          a: {handler: shop.slow, timeout: 100ms, retry: 1, when_exhausted: skip}
          b: {handler: shop.slow_async, timeout: 100ms, retry: 1, when_exhausted: skip}
        """
    )
    run = works.client.start("slow")

    works.start()

    assert works.ended(run.id).status == "completed"
    errors = works.client.run_snapshot(run.id)["errors"]
    assert {(error["type"], error["step"]) for error in errors} == {
        ("Timeout", "a"),
        ("Timeout", "b"),
    }
    import shop  # type: ignore[import-not-found]

    assert shop.told.wait(20)
    assert shop.done.wait(20)


def test_a_blocked_event_loop_is_named_and_replaced(
    works: Works, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others that wait for the loop go on with another one when the handler's time is up (F9)."""
    monkeypatch.setattr(event_loop, "_BLOCKED_SECONDS", 0.1)
    works.app.write(
        "shop.py",
        """
        import threading
        release = threading.Event()
        async def block(input): release.wait(20)
        async def quick(input): return "quick"
        """,
    )
    works.deploy(
        """
        flow: blocked
        steps:
          block: {handler: shop.block, timeout: 500ms, retry: 1, when_exhausted: skip}
          quick: {handler: shop.quick, retry: 1}
          later: {handler: shop.quick, start_delay: 100ms, retry: 1}
        """
    )
    run = works.client.start("blocked")

    works.start()

    ended = works.ended(run.id)
    import shop

    shop.release.set()
    assert (ended.status, [step.status for step in ended.steps]) == (
        "completed",
        ["skipped", "completed", "completed"],
    )
    assert "event loop is blocked for more than 0.1 s by step block" in caplog.text
    assert "going on with another one" in caplog.text


def test_a_handler_that_holds_the_gil_over_a_lease_is_named(
    works: Works, caplog: pytest.LogCaptureFixture
) -> None:
    """No thread can extend a lease then: who reads the log learns where to look (F9)."""
    works.app.write(
        "shop.py",
        """
        import ctypes
        def hold(input): ctypes.PyDLL(None).usleep(1_600_000)  # holds the GIL
        """,
    )
    works.deploy("flow: gil\nsteps:\n  holder: {handler: shop.hold}\n")
    works.start(lease_seconds=1)

    def told() -> bool:
        run = works.client.start("gil")
        assert works.ended(run.id).status == "completed"
        return "held the GIL, of step holder" in caplog.text

    eventually(told, what="the warning")  # not in the middle of a heartbeat, which hides it


def test_too_many_handlers_that_ignore_their_timeout_end_the_worker(
    works: Works, caplog: pytest.LogCaptureFixture
) -> None:
    """More abandoned threads than slots: exit code 1, the step is named (engine §4.3)."""
    works.app.write(
        "shop.py",
        """
        import threading
        release = threading.Event()
        def deaf(input): release.wait(20)
        """,
    )
    works.deploy(
        """
        flow: deaf
        steps:
          hear_nothing: {handler: shop.deaf, timeout: 50ms, retry: 1, initial_tasks: 5,
                         when_exhausted: fail}
        """
    )
    for _ in range(4):
        works.client.start("deaf")

    code = works.worker(concurrency=2).run()

    import shop

    shop.release.set()
    assert code == 1
    assert "hear_nothing" in caplog.text


@pytest.mark.parametrize("handler", ["deaf", "deaf_async"])
def test_as_many_deaf_handlers_as_slots_end_the_worker(
    works: Works, monkeypatch: pytest.MonkeyPatch, handler: str
) -> None:
    """At the number of slots, once they have had a moment to end; coroutines as threads."""
    monkeypatch.setattr(pool, "DEAF_SECONDS", 0.3)
    works.app.write("shop.py", DEAF)
    works.deploy(
        f"""
        flow: deaf
        steps:
          hear_nothing: {{handler: shop.{handler}, timeout: 50ms, retry: 1, map: range(2),
                          fail_fast: false, tolerate: 2}}
          behind: {{handler: shop.later, depends_on: [hear_nothing], start_delay: 1h}}
        """
    )
    works.client.start("deaf")

    worker = works.worker(concurrency=2)
    code = worker.run()

    import shop

    shop.release.set()
    assert code == 1
    assert '"hear_nothing"' in worker.gave_up


@pytest.mark.parametrize("handler", ["deaf", "deaf_async"])
def test_the_slots_of_deaf_handlers_are_given_back(works: Works, handler: str) -> None:
    """What comes next begins although none of them has ended."""
    works.app.write("shop.py", DEAF)
    works.deploy(
        f"""
        flow: deaf
        steps:
          hear_nothing: {{handler: shop.{handler}, timeout: 50ms, retry: 1, map: range(2),
                          fail_fast: false, tolerate: 2}}
          next: {{handler: shop.{handler.replace("deaf", "later")}, depends_on: [hear_nothing],
                  timeout: 2s, retry: 1}}
        """
    )
    run = works.client.start("deaf")

    works.start(concurrency=2)

    ended = works.ended(run.id, seconds=15)
    import shop

    assert ended.status == "completed"
    assert not shop.release.is_set()
    shop.release.set()


def test_late_handlers_that_return_after_all_do_not_add_up(works: Works) -> None:
    """Only those that still run count: one after the other, they do not end the worker."""
    works.app.write(
        "shop.py",
        """
        import time
        def late(input, ctx):
            while not ctx.cancelled:
                time.sleep(0.01)
        def quick(input): return "quick"
        """,
    )
    works.deploy("flow: late\nsteps:\n  go: {handler: shop.late, timeout: 50ms, retry: 1}\n")
    works.start(concurrency=1)
    for _ in range(4):
        assert works.ended(works.client.start("late").id).status == "failed"

    works.deploy("flow: quick\nsteps:\n  go: {handler: shop.quick}\n")

    assert works.ended(works.client.start("quick").id, seconds=10).status == "completed"


def test_a_cancelled_run_cancels_its_handler(works: Works) -> None:
    """The next heartbeat sets `ctx.cancelled`; the result is dropped (F32)."""
    works.app.write(
        "shop.py",
        """
        import threading
        begun, told = threading.Event(), threading.Event()
        def go(input, ctx):
            begun.set()
            while not ctx.cancelled:
                ctx.heartbeat()
                told.wait(0.02)
            told.set()
            return "late"
        """,
    )
    works.deploy("flow: long\nsteps:\n  go: {handler: shop.go}\n")
    run = works.client.start("long")
    works.start(lease_seconds=1.5)
    eventually(lambda: works.client.get(run.id).steps[0].tasks["started"] == 1)

    assert works.client.cancel(run.id).cancelled

    import shop

    assert shop.told.wait(10)
    ended = works.client.get(run.id)
    assert (ended.status, ended.output) == ("cancelled", None)


def test_a_heavy_expression_keeps_no_thread(works: Works) -> None:
    """Its own limits end it within a second; the timeout is its handler's, and nobody is deaf."""
    works.app.write("shop.py", "def go(x=None): return x\n")
    rows = "[input.rows, input.rows, input.rows]"
    works.deploy(
        f"""
        flow: heavy
        input: {{rows: {{type: array}}}}
        defaults: {{timeout: 50ms, retry: 1}}
        fail_fast: false
        steps:
          large:
            handler: shop.go
            with: {{x: "${{{{ [{rows}, {rows}] }}}}"}}
          long: {{handler: shop.go, with: {{x: "${{{{ len(to_json(input.rows)) }}}}"}}}}
        """
    )
    worker = works.start(concurrency=1)

    run = works.client.start("heavy", {"rows": environment()["input.rows"]}).id

    ended = works.ended(run, seconds=40)
    assert [step.status for step in ended.steps] == ["failed", "completed"]
    (error,) = works.client.run_snapshot(run)["errors"]
    assert (error["step"], error["type"]) == ("large", "ExpressionError")
    assert worker._pool.abandoned == 0
