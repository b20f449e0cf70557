"""Runs that are ending: what still runs is told to stop, says so, and `finally` begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fixtures.working import Works


@pytest.mark.parametrize("handler", ["wait_until_told", "wait_for_ever"])
def test_finally_begins_when_what_was_told_to_stop_has_stopped(works: Works, handler: str) -> None:
    """Not at once, and not only when a lease ends: when the worker says so."""
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
