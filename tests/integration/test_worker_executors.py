"""A worker with an executor that is not of the package: one more entry in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.worker.executors import EXECUTORS
from tests.fixtures.fresh_threads import THREAD_NAME, FreshThreads

if TYPE_CHECKING:
    from tests.fixtures.working import Works

HANDLERS = """
import threading

names = set()

def split(input): return list(range(input["n"]))

def square(item, ctx):
    names.add(threading.current_thread().name)
    if item == 3 and ctx.attempt == 1: raise ValueError("once")
    return item * item

async def add(outputs):
    names.add(threading.current_thread().name)
    return sum(outputs["square"])

def slow(input, ctx):
    while not ctx.cancelled: pass
"""
FLOW = """
flow: squares
input: {n: {type: integer}}
steps:
  split: {handler: shop.split}
  square:
    handler: shop.square
    depends_on: [split]
    map: steps.split.output
    retry: {max_attempts: 2, base_delay: 0s}
  add: {handler: shop.add, depends_on: [square]}
"""
SLOW = """
flow: slow
steps:
  slow: {handler: shop.slow, timeout: 100ms, retry: {max_attempts: 1}}
"""


def test_a_third_executor_is_one_entry(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow with a map, a retry, an `async def` and a timeout runs on it as on threads."""
    monkeypatch.setitem(EXECUTORS, "fresh", (FreshThreads,))
    works.app.write("shop.py", HANDLERS)
    works.deploy(FLOW)
    works.deploy(SLOW)
    run = works.client.start("squares", {"n": 20})
    slow = works.client.start("slow")

    works.start(executor="fresh")

    ended = works.ended(run.id)
    assert ended.output == {"add": sum(n * n for n in range(20))}
    assert works.ended(slow.id).status == "failed"
    import shop  # type: ignore[import-not-found]

    assert shop.names == {THREAD_NAME}


def test_an_unknown_executor_is_refused(works: Works) -> None:
    """With the names of those that are known."""
    with pytest.raises(ValueError, match='no executor "dask", only thread'):
        works.worker(executor="dask")
