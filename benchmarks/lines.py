"""Logs: what 20 printed lines cost a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm import farms
from figures import Spread, Target

if TYPE_CHECKING:
    from farm import Sizes
    from server import Server

LINES = 20
FLOW = "flow: job_chatty\nsteps:\n  job: {handler: farm_handlers.chatty}\n"
STORED = "select coalesce(sum(jsonb_array_length(lines)), 0) from pgflow.task_logs"
SIZE = "select pg_total_relation_size('pgflow.task_logs')"


def lines(server: Server, sizes: Sizes) -> list[Target]:
    """Compare the throughput of tasks that print 20 lines with that of tasks that print none."""
    ratios, tasks = [], max(sizes.tasks // 4, 20)
    with farms(server) as (farm,), farm.workers(1):
        farm.deploy(FLOW)
        for handler in ("nothing", "chatty"):
            farm.jobs(20, handler)
        before = farm.one(STORED)
        for turn in range(sizes.rounds):
            rates = {}
            for handler in ("nothing", "chatty") if turn % 2 else ("chatty", "nothing"):
                rates[handler] = farm.jobs(tasks, handler)
            ratios.append(rates["chatty"] / rates["nothing"])
        stored = farm.one(STORED)
        if stored - before != LINES * tasks * sizes.rounds or farm.mistakes():
            raise RuntimeError(f"{stored - before} lines are stored, {farm.mistakes()} mistakes")
        size = farm.one(SIZE) / stored
    title = f"backlog, {LINES} lines a task"
    return [
        Target(f"{title}: part of the throughput without", Spread.of(ratios), 0.4),
        Target(f"{title}: disk for a line", Spread.of([size]), 150, None, "less", "B"),
    ]
