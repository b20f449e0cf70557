"""What does not grow: cost per task with width, with what is parked, with what is past.

    .venv/bin/python benchmarks/growth.py            # full size: about ten minutes
    .venv/bin/python benchmarks/growth.py --short    # a look at the shape

Exit code 1: a figure is below its floor.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from farm import Farm, farms
from server import WORK, Server
from targets import Target, floor_missed, target_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HOPS = """
select extract(epoch from t.started_at - lag(t.started_at) over (order by t.started_at))
from pgflow.step_tasks t where t.run_id = %s::uuid order by t.started_at"""
# Runs that ended long ago, written by hand: what made them is not what is measured.
FINISHED = """
set session_replication_role = replica;
create temp table past as select gen_random_uuid() as run_id, f.flow_slug
from pgflow.flows f cross join generate_series(1, {runs}) where f.queue_name = 'job_nothing';
insert into pgflow.runs (run_id, flow_slug, flow_name, status, input, completed_at)
select run_id, flow_slug, 'job_nothing', 'completed', '{{}}', now() from past;
insert into pgflow.step_states (flow_slug, run_id, step_slug, status, initial_tasks,
  remaining_tasks, started_at, completed_at, made, sent)
select flow_slug, run_id, 'job', 'completed', 1, 0, now(), now(), 1, 1 from past;
insert into pgflow.step_tasks (flow_slug, run_id, step_slug, status, message_id, queue_name,
  attempts_count, started_at, completed_at)
select flow_slug, run_id, 'job', 'completed', nextval('pgmq.q_job_nothing_msg_id_seq'),
  'job_nothing', 1, now(), now() from past;
drop table past;
set session_replication_role = origin"""
PARKED = """
insert into pgmq.q_{queue} (vt, message)
select now() + g * interval '1 s', '{{}}' from generate_series(3600, 3599 + {messages}) g"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large each measurement is."""

    widths: tuple[int, ...] = (500, 2000, 8000, 30_000, 100_000)
    parked: int = 1_000_000
    claims: int = 40
    finished: int = 100_000
    backlog: int = 20_000
    rounds: int = 5
    chain: int = 1000
    memory: int = 200_000


SHORT = Sizes(
    widths=(200, 1000),
    parked=20_000,
    claims=5,
    finished=5000,
    backlog=300,
    rounds=1,
    chain=30,
    memory=2000,
)


def sections(server: Server, *, short: bool = False) -> list[Target]:
    """Every figure of growth."""
    sizes = SHORT if short else Sizes()
    found: list[Target] = []
    for measure in (fan_out, claims, history, chain, memory):
        rows = measure(server, sizes)
        print(*(f"{row.name}: {row.figure}" for row in rows), sep="\n", file=sys.stderr, flush=True)
        found += rows
    return found


def fan_out(server: Server, sizes: Sizes) -> list[Target]:
    """How the time of a map grows with its width: the slope of log time over log width."""
    with farms(server) as (farm,), farm.workers(1):
        farm.fan(sizes.widths[0])
        points = [
            (width, statistics.median(farm.fan(width) for _ in range(_repeats(width))))
            for width in sizes.widths
        ]
        spread = [
            math.log(later[1] / earlier[1]) / math.log(later[0] / earlier[0])
            for earlier, later in pairwise(points)
        ]
    for width, seconds in points:
        print(f"map of {width}: {width / seconds:.0f} tasks a second", file=sys.stderr)
    name = f"fan-out {points[0][0]:,} to {points[-1][0]:,}: exponent of its time"
    bounds = (min(spread), max(spread))
    return [Target(name, _slope(points), 1.05, None, "less", spread=bounds)]


def claims(server: Server, sizes: Sizes) -> list[Target]:
    """A claim of 100 tasks, and one that finds nothing, with parked messages and without."""
    with farms(server, 2) as (empty, crowded):
        for queue in ("job_nothing", "pgflow__timers"):
            crowded.db.execute(b"select pgflow._queue_ensure('pgflow__timers')")
            crowded.db.execute(PARKED.format(queue=queue, messages=sizes.parked).encode())
        crowded.db.execute(b"vacuum analyze")
        for farm in (empty, crowded):
            farm.start("job_nothing", 100 * sizes.claims)
        times: dict[Farm, list[float]] = {empty: [], crowded: []}
        idle: dict[Farm, list[float]] = {empty: [], crowded: []}
        worker = str(uuid4())
        for farm in times:
            farm.db.execute(b"select pgflow.register_worker(%s, null, '{}')", [worker])
        for _ in range(sizes.claims):
            for farm, seconds in times.items():
                seconds.append(_claim_seconds(farm, worker, expected=100))
        for _ in range(sizes.claims):
            for farm, seconds in idle.items():
                seconds.append(_claim_seconds(farm, worker, expected=0))
    beside = f"{sizes.parked:,} parked messages"
    return [
        _times_as_long(f"claim of 100 beside {beside}", times[crowded], times[empty], most=2.0),
        _times_as_long(f"claim of nothing beside {beside}", idle[crowded], idle[empty], most=2.0),
    ]


def history(server: Server, sizes: Sizes) -> list[Target]:
    """Throughput beside finished runs, as a part of that without them; rounds interleaved."""
    with farms(server, 2) as (new, old):
        old.db.execute(FINISHED.format(runs=sizes.finished).encode())
        for farm in (new, old):
            farm.db.execute(b"vacuum analyze")
        works: dict[str, Callable[[Farm], float]] = {
            "backlog": lambda farm: farm.jobs(sizes.backlog),
            "fan-out": lambda farm: sizes.backlog / farm.fan(sizes.backlog),
        }
        rates = _interleaved(works, (new, old), sizes.rounds)
    rows = []
    for name in works:
        ratios = [b / a for a, b in zip(rates[name, new], rates[name, old], strict=True)]
        title = f"{name} beside {sizes.finished:,} finished runs: part of the throughput without"
        figure = statistics.median(ratios)
        rows.append(Target(title, figure, 0.95, None, "more", spread=(min(ratios), max(ratios))))
    return rows


def chain(server: Server, sizes: Sizes) -> list[Target]:
    """The last hops of a long chain beside its first."""
    steps = [
        f"  s{i}: {{handler: farm_handlers.nothing{f', depends_on: [s{i - 1}]' if i else ''}}}"
        for i in range(sizes.chain)
    ]
    with farms(server) as (farm,), farm.workers(1):
        farm.deploy("\n".join(["flow: chain", "steps:", *steps, ""]))
        ratios = []
        for _ in range(min(sizes.rounds, 3)):
            farm.start("chain")  # the first one meets a cold worker
            farm.until_idle()
            (run,) = farm.start("chain")
            farm.until_idle()
            hops = [float(hop) for (hop,) in farm.db.execute(HOPS.encode(), [run]) if hop]
            part = max(1, len(hops) // 10)
            ratios.append(statistics.median(hops[-part:]) / statistics.median(hops[:part]))
    name = f"chain of {sizes.chain:,}: its last hops beside its first"
    figure = statistics.median(ratios)
    return [Target(name, figure, 1.5, None, "less", "×", (min(ratios), max(ratios)))]


def memory(server: Server, sizes: Sizes) -> list[Target]:
    """A worker's resident memory after all tasks, beside that after a tenth of them."""
    part = sizes.memory // 20
    used: list[float] = []
    with farms(server) as (farm,), farm.workers(1) as (pid,):
        for turn in range(20):
            if turn % 2:
                farm.jobs(part)
            else:
                farm.fan(part)
            used.append(_resident_mib(pid))
        mistakes = farm.mistakes()
    if mistakes:
        raise RuntimeError(f"{mistakes} tasks or runs went wrong")
    name = f"worker's memory after {sizes.memory:,} tasks beside that after a tenth of them"
    top = max(used)
    return [
        Target(name, used[-1] / used[1], 1.1, None, "less", "×"),
        Target(
            f"worker's memory at its most in {sizes.memory:,} tasks", top, 80, 120, "less", "MiB"
        ),
    ]


def _interleaved(
    works: dict[str, Callable[[Farm], float]], places: Sequence[Farm], rounds: int
) -> dict[tuple[str, Farm], list[float]]:
    """What each work gives in each place, round by round, after one that does not count."""
    rates: dict[tuple[str, Farm], list[float]] = {(n, f): [] for n in works for f in places}
    for turn in range(rounds + 1):
        for farm in places if turn % 2 else reversed(places):
            with farm.workers(1):
                farm.jobs(100)
                for name, work in works.items():
                    rate = work(farm)
                    if turn:
                        rates[name, farm].append(rate)
    return rates


def _claim_seconds(farm: Farm, worker: str, *, expected: int) -> float:
    query = "select jsonb_array_length(pgflow.turn(%s, '[]', %s, 100, '1 h', '{}') -> 'tasks')"
    began = time.perf_counter()
    got = farm.one(query, worker, ["job_nothing"])
    seconds = time.perf_counter() - began
    if got != expected:
        raise RuntimeError(f"a claim gave {got} tasks, not {expected}")
    return seconds


def _times_as_long(
    name: str, ours: Sequence[float], beside: Sequence[float], *, most: float
) -> Target:
    figure = statistics.median(ours) / statistics.median(beside)
    return Target(f"{name}, beside an empty queue's", figure, most, None, "less", "×")


def _repeats(width: int) -> int:
    return 5 if width <= 2000 else 3 if width <= 10_000 else 1


def _slope(points: Sequence[tuple[int, float]]) -> float:
    xs = [math.log(width) for width, _ in points]
    ys = [math.log(seconds) for _, seconds in points]
    return statistics.linear_regression(xs, ys).slope


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def run_alone(measure: Callable[..., list[Target]], description: str) -> int:
    """Measure on a server of its own and print the table."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="small sizes")
    parser.add_argument("--work", type=Path, default=WORK, help="where data lie")
    args = parser.parse_args()
    server = Server(args.work.resolve() / "server")
    try:
        found = measure(server, short=args.short)
    finally:
        server.close()
    print(target_table(found))
    return 1 if floor_missed(found) else 0


if __name__ == "__main__":
    sys.exit(run_alone(sections, __doc__ or ""))
