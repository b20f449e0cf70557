"""Workers that share tasks: none holds what another one could run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works

# A quick step first: the worker expects that the next tasks are as quick.
QUICK_THEN_SLOW = """
flow: uneven
input: {{slow: {{type: integer}}}}
steps:
  quick: {{handler: shop.quick, initial_tasks: 400}}
  slow: {{handler: shop.{handler}, map: range(input.slow), depends_on: [quick]{more}}}
"""
HANDLERS = """
import asyncio, threading
gate, lock = threading.Event(), threading.Lock()
running, calls = set(), 0

def quick(): return 1
def enter(i):
    global calls
    with lock:
        calls += 1
        running.add(i)
def slow(i):
    enter(i)
    gate.wait(20)
    running.discard(i)
    return i
def tries(i, ctx):
    enter(i)
    gate.wait(20)
    return [ctx.attempt, ctx.fence > ctx.attempt]
async def slow_async(i):
    enter(i)
    while not gate.is_set():
        await asyncio.sleep(0.01)
    running.discard(i)
    return i
"""


@pytest.mark.parametrize("handler", ["slow", "slow_async"])
@pytest.mark.parametrize(("slots", "items"), [(1, 2), (4, 5)])
def test_items_that_wait_go_to_a_free_worker(
    works: Works, handler: str, slots: int, items: int
) -> None:
    """All run at once, although one worker had claimed them all; none of it is an attempt."""
    works.app.write("shop.py", HANDLERS)
    works.deploy(QUICK_THEN_SLOW.format(handler=handler, more=""))
    works.start(concurrency=slots)
    run = works.client.start("uneven", {"slow": items})
    eventually(lambda: works.client.get(run.id).steps[0].status == "completed")

    works.start(concurrency=slots)

    import shop  # type: ignore[import-not-found]

    eventually(lambda: len(shop.running) == items, seconds=15, what="all items run at once")
    shop.gate.set()
    ended = works.ended(run.id)
    assert (ended.status, ended.steps[1].attempts, shop.calls) == ("completed", 1, items)


def test_items_of_a_slow_step_have_all_of_their_timeout(works: Works) -> None:
    """None fails, however many were claimed for the slots that there are."""
    works.app.write(
        "shop.py",
        """
        import threading
        never = threading.Event()
        def quick(): return 1
        def slow(i): never.wait(0.5); return i
        """,
    )
    works.deploy(QUICK_THEN_SLOW.format(handler="slow", more=", timeout: 700ms, retry: 1"))
    run = works.client.start("uneven", {"slow": 10})

    works.start(concurrency=2)

    assert works.ended(run.id).status == "completed"


def test_a_supply_that_the_slots_use_up_is_kept(works: Works, db: psycopg.Connection) -> None:
    """Each task is claimed once: what waits for a free slot begins within a moment."""
    works.app.write("shop.py", "import time\ndef go(i): time.sleep(0.01)\n")
    works.deploy("flow: even\nsteps:\n  go: {handler: shop.go, map: range(300)}\n")
    run = works.client.start("even")

    works.start(concurrency=4)

    assert works.ended(run.id).status == "completed"
    claims = db.execute("select max(attempts_count) from pgflow.step_tasks").fetchone()
    assert claims == (1,)


def test_a_first_call_after_a_release_is_attempt_1(works: Works, db: psycopg.Connection) -> None:
    """The fence alone has grown: what was given back looks like no retry."""
    works.app.write("shop.py", HANDLERS)
    works.deploy(QUICK_THEN_SLOW.format(handler="tries", more=""))
    run = works.client.start("uneven", {"slow": 2})
    works.start(concurrency=1)
    given_back = "select count(*) from pgflow.step_tasks where uncounted > 0"
    eventually(lambda: db.execute(given_back).fetchone() == (1,), what="an item is given back")

    import shop

    shop.gate.set()

    assert works.ended(run.id).output == {"slow": [[1, False], [1, True]]}
