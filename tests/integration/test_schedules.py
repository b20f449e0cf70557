"""Workers start the runs of schedules; of many workers one does, and none needs room for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fixtures.waiting import eventually
from tests.integration.test_worker_upkeep import STAY, deploy, fill_the_house

if TYPE_CHECKING:
    from pgflow_yaml import Run
    from tests.fixtures.working import Works

SHOP = """
def work(tick, ctx):
    return [tick, ctx.scheduled_at.isoformat()]
"""
EACH_SECOND = """
flow: tick
schedule: {every: 1s, overlap: allow, input: {at: "${{ run.scheduled_at }}"}}
input: {at: {type: string}}
steps:
  a: {handler: ticks.work, with: {tick: "${{ [input.at, run.scheduled_at] }}"}}
"""


def completed(works: Works, count: int, flow: str = "tick") -> list[Run]:
    """So many runs of a flow, once they have completed, newest first."""

    def look() -> bool:
        return len(works.client.list_runs(flow=flow, status="completed")) >= count

    eventually(look, what=f"{count} runs of {flow} have completed")
    return [
        works.client.get(run.id) for run in works.client.list_runs(flow=flow, status="completed")
    ]


def test_a_schedule_starts_runs(works: Works) -> None:
    """Each second one; its input, expressions and the handler know the tick."""
    works.app.write("ticks.py", SHOP)
    works.deploy(EACH_SECOND)
    works.start()

    outputs: list[Any] = [run.output for run in completed(works, 2)]

    assert len({str(output) for output in outputs}) == len(outputs)
    for output in outputs:
        (at, tick), scheduled_at = output["a"]
        assert at == tick == scheduled_at.replace("+00:00", "Z")


def test_a_busy_worker_fires(works: Works) -> None:
    """All of its slots are taken; the run waits in its queue."""
    deploy(works, STAY)
    works.app.write("ticks.py", SHOP)
    fill_the_house(works)
    works.deploy(EACH_SECOND)

    eventually(lambda: works.client.list_runs(flow="tick"), seconds=10, what="a tick has a run")
