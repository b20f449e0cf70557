"""Pruning beside load: what it costs the runs beside it, and the longest statement meanwhile."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg
from farm import Farm, Sizes, farms
from figures import Spread, Target
from growth import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server import Server

LIGHT = 0.5
"""Seconds between two small backlogs of the light load."""

LEFT = b"select count(*) from pgflow.runs where started_at < now() - interval '30 days'"
LONGEST = r"""
select 1000 * extract(epoch from clock_timestamp() - query_start)::float8,
  coalesce(substring(query from 'pgflow\.(\w+)'), 'another')
from pg_stat_activity
where datname = current_database() and state = 'active' and backend_type = 'client backend'
  and pid <> pg_backend_pid() and query not like '%start_runs%'
order by query_start limit 1"""


def pruning(server: Server, sizes: Sizes) -> list[Target]:
    """Compare the throughput of a backlog beside `prune` with that while `prune` is stopped.

    The first rounds alternate. From then on the rest is deleted beside a light load, so that a
    million runs take minutes: beside a full one `prune` rests most of the time.
    """
    ratios: list[float] = []
    with farms(server) as (farm,), farm.workers(1):
        at = "now() - interval '40 days' + n * interval '10 ms'"
        farm.db.execute(FINISHED.format(runs=sizes.pruned, at=at).encode())
        farm.db.execute(b"vacuum analyze")
        farm.jobs(sizes.tasks // 10)
        began = time.monotonic()
        with _prune(farm) as prune, _longest_statement(farm.uri) as longest:
            while prune.poll() is None:
                if len(ratios) < 2 * sizes.rounds:
                    beside = farm.jobs(sizes.tasks // 4)
                    prune.send_signal(signal.SIGSTOP)
                    ratios.append(beside / farm.jobs(sizes.tasks // 4))
                    prune.send_signal(signal.SIGCONT)
                    continue
                farm.jobs(sizes.tasks // 40)
                with suppress(subprocess.TimeoutExpired):
                    prune.wait(LIGHT)
        # The worker may have pruned a few of them before the command.
        left = farm.db.execute(LEFT).fetchone()
        if prune.returncode or left != (0,) or farm.mistakes():
            raise RuntimeError(f"{left} runs left, {farm.mistakes()} tasks or runs went wrong")
    ms, name = max(longest)
    rate = sizes.pruned / (time.monotonic() - began)
    past = f"{sizes.pruned:,} finished runs pruned ({rate:,.0f} a second)"
    return [
        Target(f"backlog while {past}: part of the throughput alone", _middle(ratios), 0.8),
        Target(
            f"longest statement while {past}: {name}", Spread.of([ms]), 1000, None, "less", "ms"
        ),
    ]


def _middle(ratios: list[float]) -> Spread:
    return Spread(statistics.median(ratios), min(ratios), max(ratios))


@contextmanager
def _prune(farm: Farm) -> Iterator[subprocess.Popen[bytes]]:
    """Run `pgflow-yaml prune`, with the rests that workers make too."""
    command = [sys.executable, "-m", "pgflow_yaml", "prune", "--json"]
    env = {**os.environ, "DATABASE_URL": farm.uri}
    with subprocess.Popen(command, cwd=farm.folder, env=env, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _longest_statement(uri: str) -> Iterator[list[tuple[float, str]]]:
    """Look a hundred times a second how long statements, by function, have taken so far, in ms.

    Those that start the backlog's runs, thousands in one statement, are not counted.
    """
    over, found = threading.Event(), [(0.0, "none")]

    def look() -> None:
        with psycopg.connect(uri, autocommit=True) as db:
            while not over.wait(0.01):
                found[0] = max([found[0], *db.execute(LONGEST.encode()).fetchall()])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
