"""Handlers that harm the event loop they share (R-5, F9, F22)."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.working import Works

FLOW = """
flow: shared
steps:
  waits: {handler: shop.waits, retry: 1}
  harms: {handler: shop.harms, retry: 1}
  later: {handler: shop.later, depends_on: [waits, harms]}
"""
HANDLERS = """
import asyncio, threading
begun, harmed = threading.Event(), threading.Event()
async def exits(): raise SystemExit(1)
async def interrupts(): raise KeyboardInterrupt
async def waits(input):
    begun.set()
    while not harmed.is_set():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.04)
    return "waited"
async def harms(input):
    while not begun.is_set():
        await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()
    {harm}
    harmed.set()
    await asyncio.sleep(0.02)
    return "harmed"
async def later(input): return "later"
"""


@pytest.fixture(autouse=True)
def _garbage(works: Works) -> Iterator[None]:
    """Let asyncio complain about forgotten tasks here, not in the middle of an import."""
    yield
    works.close()
    gc.collect()


@pytest.mark.parametrize(
    "harm",
    [
        "asyncio.create_task(exits())",
        "asyncio.create_task(interrupts())",
        "loop.call_soon(exit, 1)",
        "loop.stop()",
    ],
)
def test_a_handler_cannot_end_the_event_loop(works: Works, harm: str) -> None:
    """Awaited handlers go on, later ones run, and the handler itself ends as it would."""
    works.app.write("shop.py", HANDLERS.replace("{harm}", harm))
    works.deploy(FLOW)
    run = works.client.start("shared")

    works.start()

    ended = works.ended(run.id)
    assert ended.output == {"later": "later"}
    assert works.client.run_snapshot(run.id)["errors"] == []
    assert [step.attempts for step in ended.steps] == [1, 1, 1]


def test_a_broken_event_loop_is_replaced(works: Works, caplog: pytest.LogCaptureFixture) -> None:
    """Handlers awaited on it fail with a message; later ones run on another loop."""
    harm = "loop._run_once = lambda: 1 / 0"
    works.app.write("shop.py", HANDLERS.replace("{harm}", harm))
    works.deploy(
        FLOW.replace("retry: 1", "retry: 1, when_exhausted: skip").replace(
            "depends_on: [waits, harms]", "start_delay: 500ms"
        )
    )
    run = works.client.start("shared")

    works.start()

    ended = works.ended(run.id)
    assert [step.status for step in ended.steps] == ["skipped", "skipped", "completed"]
    errors = works.client.run_snapshot(run.id)["errors"]
    assert {error["type"] for error in errors} == {"EventLoopEnded"}
    assert "another handler broke it" in errors[0]["message"]
    assert "going on with another one" in caplog.text
