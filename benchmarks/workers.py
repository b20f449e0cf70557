"""Several worker processes: nothing lost, nothing done twice, no slower than one, and fair.

    .venv/bin/python benchmarks/workers.py           # full size: about five minutes
    .venv/bin/python benchmarks/workers.py --short   # a look at the shape

Exit code 1: a figure is below its floor.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm import Farm, farms
from growth import run_alone
from targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server import Server

# A short pause when idle: how soon workers find work is measured elsewhere.
READY = ("--max-poll-seconds", "0.05")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large each measurement is."""

    tasks: int = 20_000
    rounds: int = 3
    resting: int = 4000
    map: int = 100_000
    slow_map: int = 20_000


SHORT = Sizes(tasks=400, rounds=1, resting=100, map=2000, slow_map=1000)


def sections(server: Server, *, short: bool = False) -> list[Target]:
    """Every figure of several workers."""
    sizes = SHORT if short else Sizes()
    found: list[Target] = []
    for measure in (throughput, slots, fairness):
        rows = measure(server, sizes)
        print(*(f"{row.name}: {row.figure}" for row in rows), sep="\n", file=sys.stderr, flush=True)
        found += rows
    return found


def throughput(server: Server, sizes: Sizes) -> list[Target]:
    """1, 2 and 4 processes on one run and on many; what went wrong meanwhile."""
    works: dict[str, Callable[[Farm], float]] = {
        "one run": lambda farm: sizes.tasks / farm.fan(sizes.tasks),
        "many runs": lambda farm: farm.jobs(sizes.tasks),
    }
    counts = (1, 2, 4)
    rates: dict[tuple[str, int], list[float]] = {(w, n): [] for w in works for n in counts}
    mistakes = deadlocks = 0
    for turn in range(sizes.rounds):
        for count in counts if turn % 2 else reversed(counts):
            with farms(server) as (farm,):
                with farm.workers(count, *READY):
                    farm.jobs(100)
                    for name, work in works.items():
                        rates[name, count].append(work(farm))
                mistakes += farm.mistakes()
                deadlocks += farm.deadlocks()
    rows = []
    for name in works:
        for count in counts[1:]:
            ratios = [b / a for a, b in zip(rates[name, 1], rates[name, count], strict=True)]
            title = f"{count} processes on {name}: × the throughput of one"
            bounds = (min(ratios), max(ratios))
            figure = statistics.median(ratios)
            rows.append(Target(title, figure, 1.0, None, "more", "×", bounds))
    total = f"{2 * sizes.tasks * sizes.rounds * len(counts):,} tasks of 1 to 4 processes"
    return [
        *rows,
        Target(f"{total}: lost, double, or against an invariant", mistakes, 0, 0, "less"),
        Target(f"{total}: deadlocks", deadlocks, 0, 0, "less"),
    ]


def slots(server: Server, sizes: Sizes) -> list[Target]:
    """4 processes with one slot each against one with one, where a handler takes 5 ms."""
    works: dict[str, Callable[[Farm], float]] = {
        "one run": lambda farm: sizes.resting / farm.fan(sizes.resting, "rest"),
        "many runs": lambda farm: farm.jobs(sizes.resting, "rest"),
    }
    rates: dict[tuple[str, int], float] = {}
    with farms(server) as (farm,):
        for count in (1, 4):
            with farm.workers(count, "-c", "1", *READY):
                farm.jobs(20 * count, "rest")
                for name, work in works.items():
                    rates[name, count] = work(farm)
        if farm.mistakes():
            raise RuntimeError(f"{farm.mistakes()} tasks or runs went wrong")
    title = "4 processes -c 1, handlers of 5 ms, {}: × one process"
    return [
        Target(title.format(name), rates[name, 4] / rates[name, 1], 3.5, 2.5, "more", "×")
        for name in works
    ]


def fairness(server: Server, sizes: Sizes) -> list[Target]:
    """How long a run of one step waits for its handler while a wide map of its flow runs."""
    rows = []
    for flow, width, kind in (
        ("fan_echo", sizes.map, "nothing to do"),
        ("fan_rest", sizes.slow_map, "5 ms each"),
    ):
        with farms(server) as (farm,), farm.workers(1):
            waits = sorted(_waits_beside(farm, flow, width))
        name = f"run of one step beside a map of {width:,} ({kind}): start → handler, p95"
        late = waits[min(len(waits) - 1, int(len(waits) * 0.95))]
        bounds = (waits[0] * 1000, waits[-1] * 1000)
        rows.append(Target(name, late * 1000, 1000, None, "less", "ms", bounds))
    return rows


def _waits_beside(farm: Farm, flow: str, width: int) -> Iterator[float]:
    """From the start of a run to the call of its handler, twenty times a second for the map."""
    (wide,) = farm.start(flow, n=width)
    sent = "select sent > 0 from pgflow.step_states where run_id = %s::uuid and step_slug = 'each'"
    while not farm.one(sent, wide):
        time.sleep(0.005)
    began: dict[str, float] = {}
    while farm.one("select status from pgflow.runs where run_id = %s::uuid", wide) == "started":
        stamp = time.time()
        (run,) = farm.start(flow, n=0)
        began[run] = stamp
        time.sleep(0.05)
    for run, stamp in began.items():
        called = farm.client.wait(run).steps[0].output
        if not isinstance(called, dict) or not isinstance(called["began"], float):
            raise TypeError(f"not what the handler returns: {called}")
        yield called["began"] - stamp


if __name__ == "__main__":
    sys.exit(run_alone(sections, __doc__ or ""))
