"""Worker processes: one idle, several at once; nothing lost, nothing done twice, and fair."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

from farm import Farm, Sizes, farms
from figures import Spread, Target

if TYPE_CHECKING:
    from server import Server

# A short pause when idle: how soon workers find work is measured by `idle`.
READY = ("--max-poll-seconds", "0.05")
WORKS = {"one run": Farm.fan, "many runs": Farm.jobs}


def idle(server: Server, sizes: Sizes) -> list[Target]:
    """Measure an idle worker process from `Client.start` to the call of the handler.

    Starts come at random gaps, so that none of them meets the worker in step with its polls.
    Outputs are read when all runs are started: reading must not keep the worker awake.
    """
    chance = random.Random(20261125)
    started = {}
    with farms(server) as (farm,), farm.workers(1):
        farm.jobs(1, "stamp")  # the worker has imported its handlers
        for _ in range(sizes.starts):
            time.sleep(chance.uniform(0.15, 0.45))
            stamp = time.monotonic()
            started[farm.client.start("job_stamp").id] = stamp
        delays = farm.delays(started)
    middle = delays[len(delays) // 2]
    name = f"idle worker: start → first handler, p95 of {len(delays)} (p50 {middle:.0f} ms)"
    return [Target(name, _late(delays), 60.0, 200.0, "less", "ms")]


def throughput(server: Server, sizes: Sizes) -> list[Target]:
    """Compare 1, 2 and 4 processes on one run and on many; count what goes wrong meanwhile."""
    counts, rounds = (1, 2, 4), min(sizes.rounds, 3)
    rates: dict[tuple[str, int], list[float]] = {(w, n): [] for w in WORKS for n in counts}
    mistakes = deadlocks = 0
    query = "select deadlocks from pg_stat_database where datname = current_database()"
    for turn in range(rounds):
        for count in counts if turn % 2 else reversed(counts):
            with farms(server) as (farm,):
                with farm.workers(count, *READY):
                    farm.jobs(100)
                    for name, work in WORKS.items():
                        rates[name, count].append(work(farm, sizes.tasks))
                mistakes += farm.mistakes()
                deadlocks += farm.one(query)
    targets = []
    for name, count in ((name, count) for name in WORKS for count in counts[1:]):
        ratios = [b / a for a, b in zip(rates[name, 1], rates[name, count], strict=True)]
        title = f"{count} processes on {name}: × the throughput of one"
        targets.append(Target(title, Spread.of(ratios), 1.0, None, "more", "×"))
    total = f"{2 * sizes.tasks * rounds * len(counts):,} tasks of 1 to 4 processes"
    for title, number in (
        ("lost, double, or against an invariant", mistakes),
        ("deadlocks", deadlocks),
    ):
        targets.append(Target(f"{total}: {title}", Spread.of([number]), 0, 0, "less"))
    return targets


def slots(server: Server, sizes: Sizes) -> list[Target]:
    """Compare 4 processes with one, each with one slot, where a handler takes 5 ms."""
    rates = {}
    with farms(server) as (farm,):
        for count in (1, 4):
            with farm.workers(count, "-c", "1", *READY):
                farm.jobs(20 * count, "rest")
                for name, work in WORKS.items():
                    rates[name, count] = work(farm, sizes.resting, "rest")
        if farm.mistakes():
            raise RuntimeError(f"{farm.mistakes()} tasks or runs went wrong")
    title = "4 processes -c 1, handlers of 5 ms, {}: × one process"
    ratios = {name: Spread.of([rates[name, 4] / rates[name, 1]]) for name in WORKS}
    return [Target(title.format(name), ratios[name], 3.5, 2.5, "more", "×") for name in WORKS]


def fairness(server: Server, sizes: Sizes) -> list[Target]:
    """Measure how long a short run waits for its handler while a wide map of its flow runs."""
    targets = []
    for flow, width, kind in (
        ("fan_echo", sizes.widths[-1], "nothing to do"),
        ("fan_rest", sizes.slow_map, "5 ms each"),
    ):
        with farms(server) as (farm,), farm.workers(1):
            delays = farm.delays(_started_beside(farm, flow, width))
        name = f"run of one step beside a map of {width:,} ({kind}): start → handler, p95"
        targets.append(Target(name, _late(delays), 1000, None, "less", "ms"))
    return targets


def _started_beside(farm: Farm, flow: str, width: int) -> dict[str, float]:
    """Start a run twenty times a second as long as the map runs; return when each was started."""
    (wide,) = farm.start(flow, n=width)
    sent = "select sent > 0 from pgflow.step_states where run_id = %s::uuid and step_slug = 'each'"
    while not farm.one(sent, wide):
        time.sleep(0.005)
    started = {}
    while farm.one("select status from pgflow.runs where run_id = %s::uuid", wide) == "started":
        stamp = time.monotonic()
        (run,) = farm.start(flow, n=0)
        started[run] = stamp
        time.sleep(0.05)
    return started


def _late(delays: list[float]) -> Spread:
    """Return the 95th percentile with the shortest and the longest."""
    return Spread(delays[math.ceil(0.95 * (len(delays) - 1))], delays[0], delays[-1])
