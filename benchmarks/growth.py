"""What does not grow: cost per task with width, with what is parked, with what is past."""

from __future__ import annotations

import math
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from farm import Farm, Sizes, farms
from figures import Spread, Target

if TYPE_CHECKING:
    from server import Server

HOPS = """
select extract(epoch from t.started_at - lag(t.started_at) over (order by t.started_at))::float8
from pgflow.step_tasks t where t.run_id = %s::uuid order by t.started_at offset 1"""
# Runs that ended long ago, written by hand: what made them is not what is measured.
FINISHED = """
set session_replication_role = replica;
create temp table past as select gen_random_uuid() as run_id, f.flow_slug, {at} as at
from pgflow.flows f cross join generate_series(1, {runs}) n where f.queue_name = 'job_nothing';
insert into pgflow.runs (run_id, flow_slug, flow_name, status, input, started_at, completed_at)
select run_id, flow_slug, 'job_nothing', 'completed', '{{}}', at, at from past;
insert into pgflow.step_states (flow_slug, run_id, step_slug, status, initial_tasks,
  remaining_tasks, created_at, started_at, completed_at, made, sent)
select flow_slug, run_id, 'job', 'completed', 1, 0, at, at, at, 1, 1 from past;
insert into pgflow.step_tasks (flow_slug, run_id, step_slug, status, message_id, queue_name,
  attempts_count, queued_at, started_at, completed_at)
select flow_slug, run_id, 'job', 'completed', nextval('pgmq.q_job_nothing_msg_id_seq'),
  'job_nothing', 1, at, at, at from past;
drop table past;
set session_replication_role = origin"""
PARKED = """
insert into pgmq.q_{queue} (vt, message)
select now() + g * interval '1 s', '{{}}' from generate_series(3600, 3599 + {messages}) g"""
CLAIM = "select jsonb_array_length(pgflow.turn(%s, '[]', %s, 100, '1 h', '{}') -> 'tasks')"


def fan_out(server: Server, sizes: Sizes) -> list[Target]:
    """Fit the time of a map over its width: the slope of log time over log width."""
    points = []
    with farms(server) as (farm,), farm.workers(1):
        farm.fan(sizes.widths[0])
        for width in sizes.widths:
            repeats = 5 if width <= 2000 else 3 if width <= 10_000 else 1
            rate = statistics.median(farm.fan(width) for _ in range(repeats))
            points.append((math.log(width), math.log(width / rate)))
    slope = statistics.linear_regression(*zip(*points, strict=True)).slope
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairwise(points)]
    name = f"fan-out {sizes.widths[0]:,} to {sizes.widths[-1]:,}: exponent of its time"
    return [Target(name, Spread(slope, min(slopes), max(slopes)), 1.05, better="less")]


def claims(server: Server, sizes: Sizes) -> list[Target]:
    """Time a claim of 100 tasks, and an empty one, with parked messages and without."""
    worker, targets = str(uuid4()), []
    with farms(server, 2) as (empty, crowded):
        crowded.db.execute(b"select pgflow._queue_ensure('pgflow__timers')")
        for queue in ("job_nothing", "pgflow__timers"):
            crowded.db.execute(PARKED.format(queue=queue, messages=sizes.parked).encode())
        crowded.db.execute(b"vacuum analyze")
        for farm in (empty, crowded):
            farm.start("job_nothing", 100 * sizes.claims)
            farm.db.execute(b"select pgflow.register_worker(%s, null, '{}')", [worker])
        for tasks, title in ((100, "100"), (0, "nothing")):
            pairs = [
                (_claim_seconds(empty, worker, tasks), _claim_seconds(crowded, worker, tasks))
                for _ in range(sizes.claims)
            ]
            without, beside = map(statistics.median, zip(*pairs, strict=True))
            name = (
                f"claim of {title} beside {sizes.parked:,} parked messages, beside an empty queue's"
            )
            targets.append(Target(name, Spread.of([beside / without]), 2.0, None, "less", "×"))
    return targets


def _claim_seconds(farm: Farm, worker: str, tasks: int) -> float:
    began = time.perf_counter()
    claimed = farm.one(CLAIM, worker, ["job_nothing"])
    seconds = time.perf_counter() - began
    if claimed != tasks:
        raise RuntimeError(f"a claim gave {claimed} tasks, not {tasks}")
    return seconds


def history(server: Server, sizes: Sizes) -> list[Target]:
    """Compare the throughput beside finished runs with that without; rounds interleaved."""
    works = {"backlog": Farm.jobs, "fan-out": Farm.fan}
    ratios: dict[str, list[float]] = {name: [] for name in works}
    with farms(server, 2) as (new, old):
        old.db.execute(FINISHED.format(runs=sizes.finished, at="now()").encode())
        for farm in (new, old):
            farm.db.execute(b"vacuum analyze")
        for turn in range(sizes.rounds + 1):
            rates: dict[Farm, dict[str, float]] = {}
            for farm in (new, old) if turn % 2 else (old, new):
                with farm.workers(1):
                    farm.jobs(100)
                    rates[farm] = {name: work(farm, sizes.tasks) for name, work in works.items()}
            for name in works if turn else ():  # the first round warms up
                ratios[name].append(rates[old][name] / rates[new][name])
    title = f"beside {sizes.finished:,} finished runs: part of the throughput without"
    return [Target(f"{name} {title}", Spread.of(ratios[name]), 0.95) for name in works]


def chain(server: Server, sizes: Sizes) -> list[Target]:
    """Compare the last hops of a long chain with its first."""
    steps = [
        f"  s{i}: {{handler: farm_handlers.nothing{f', depends_on: [s{i - 1}]' if i else ''}}}\n"
        for i in range(sizes.chain)
    ]
    ratios = []
    with farms(server) as (farm,), farm.workers(1):
        farm.deploy("flow: chain\nsteps:\n" + "".join(steps))
        for _ in range(1 + min(sizes.rounds, 3)):
            (run,) = farm.start("chain")
            farm.until_idle()
            hops = [hop for (hop,) in farm.db.execute(HOPS.encode(), [run])]
            part = max(1, len(hops) // 10)
            ratios.append(statistics.median(hops[-part:]) / statistics.median(hops[:part]))
    name = f"chain of {sizes.chain:,}: its last hops beside its first"
    # The first run meets a cold worker.
    return [Target(name, Spread.of(ratios[1:]), 1.5, None, "less", "×")]


def memory(server: Server, sizes: Sizes) -> list[Target]:
    """Compare a worker's memory after all tasks with that after a tenth of them."""
    used: list[float] = []
    with farms(server) as (farm,), farm.workers(1) as (pid,):
        for work in (Farm.fan, Farm.jobs) * 10:
            work(farm, sizes.memory // 20)
            status = Path(f"/proc/{pid}/status").read_text()
            used.append(int(status.partition("VmRSS:")[2].split()[0]) / 1024)
        if farm.mistakes():
            raise RuntimeError(f"{farm.mistakes()} tasks or runs went wrong")
    total, growth = f"{sizes.memory:,} tasks", Spread.of([used[-1] / used[1]])
    name = f"worker's memory after {total} beside that after a tenth of them"
    most = Spread.of([max(used)])
    return [
        Target(name, growth, 1.1, None, "less", "×"),
        Target(f"worker's memory at its most in {total}", most, 80, 120, "less", "MiB"),
    ]
