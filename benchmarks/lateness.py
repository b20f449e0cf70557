"""How late an idle worker is for what is due by time: a wait, a retry, the timeout of a run."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

from farm import farms
from figures import Spread, Target

if TYPE_CHECKING:
    from farm import Sizes
    from server import Server

FLOWS = (
    "flow: nap\nsteps:\n  nap: {wait: {for: 1700ms}}\n",
    "flow: again\nsteps:\n  go: {handler: farm_handlers.again, retry: {base_delay: 1700ms}}\n",
    "flow: short\ntimeout: 1700ms\nsteps:\n  ask: {wait: {event: never}}\n",
)
# In milliseconds; each from the time that was due to the begin of the turn that did it.
LATE = {
    "wait.for": """
        select 1000 * extract(epoch from s.completed_at - s.wakes_at)::float8
        from pgflow.step_states s where s.step_slug = 'nap' order by 1""",
    "retry delay": """
        select 1000 * extract(epoch from t.started_at - e.retry_at)::float8
        from pgflow.task_errors e
        join pgflow.step_tasks t on t.run_id = e.run_id and t.step_slug = e.step_slug
        where e.retry_at is not null order by 1""",
    "run timeout": """
        select 1000 * extract(epoch from r.failed_at - r.started_at)::float8 - 1700
        from pgflow.runs r where r.flow_name = 'short' order by 1""",
}


def lateness(server: Server, sizes: Sizes) -> list[Target]:
    """Start the flows at random gaps, then leave the worker alone until all is over."""
    chance = random.Random(20261130)
    with farms(server) as (farm,):
        for flow in FLOWS:
            farm.deploy(flow)
        with farm.workers(1):
            for _ in range(sizes.late):
                for name in ("nap", "again", "short"):
                    farm.start(name)
                    time.sleep(chance.uniform(0.1, 0.4))
                farm.until_idle()
        return [
            target
            for name, query in LATE.items()
            for target in targets(name, [late for (late,) in farm.db.execute(query.encode())])
        ]


def targets(name: str, late: list[float]) -> list[Target]:
    """Hold the median and the 99th percentile of durations, shortest first, against their goals."""
    if not late:
        raise RuntimeError(f"{name}: nothing was due")
    return [
        Target(
            f"{name}: late by, {title} of {len(late)}",
            Spread(late[math.ceil(share * (len(late) - 1))], late[0], late[-1]),
            goal,
            None,
            "less",
            "ms",
        )
        for title, share, goal in (("median", 0.5, 20.0), ("p99", 0.99, 100.0))
    ]
