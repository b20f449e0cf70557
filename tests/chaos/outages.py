"""Outages of the database: how workers behave meanwhile, and when they are ready again (G5)."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from pgflow_yaml import Client
from pgflow_yaml.project.flow_set import FlowSet
from tests.chaos import mix, oracle
from tests.chaos.fleet import Fleet
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.pg import CrashableServer

_SETTLE = 1.0  # after this long each worker has noticed that the database is away


@dataclass(frozen=True, slots=True)
class Outage:
    """One outage: of each kind, the figure of the worst worker."""

    seconds: float
    ready: float
    cpu_percent: float
    lines_in_10_s: float


def outage(server: CrashableServer, folder: Path, seconds: float) -> Outage:
    """Kill the postmaster for so long; measure until each of two workers has begun a task."""
    conninfo = server.conninfo()
    with (
        Client(conninfo, patience=30) as client,
        Fleet(conninfo, folder, size=2, slots=25) as fleet,
    ):
        client.deploy(FlowSet.load([mix.APP / "gates.yaml"]))
        for worker in fleet.workers:
            worker.wait_for("worker started")
        server.kill()
        time.sleep(_SETTLE)  # the first attempts to connect are no steady state
        before = [_used(worker.pid) for worker in fleet.workers]
        said = [worker.stderr.count("\n") for worker in fleet.workers]
        time.sleep(seconds)  # the outage itself
        used = max(_used(w.pid) - b for w, b in zip(fleet.workers, before, strict=True))
        lines = max(
            worker.stderr.count("\n") - s for worker, s in zip(fleet.workers, said, strict=True)
        )
        threading.Thread(target=server.start).start()
        back = _accepts(conninfo)
        run = client.start_run("chaos_gates").run_id
        pids = {worker.pid for worker in fleet.workers}
        eventually(lambda: pids <= _first_calls(folder).keys(), what="both workers work")
        ready = max(_first_calls(folder).values()) - back
        # Its tasks wait for ever: the workers of the next outage would run them while it lasts.
        for _ in range(2):  # the second time at once
            client.cancel(run)
    # The first line of an outage comes at once: another one follows after ten seconds.
    return Outage(seconds, ready, 100 * used / seconds, lines / max(1, seconds // 10 + 1))


def _accepts(conninfo: str) -> float:
    """Return the time at which the database accepted a connection."""
    while True:
        try:
            psycopg.connect(conninfo).close()
        except psycopg.OperationalError:
            time.sleep(0.01)
        else:
            return time.time()


def _first_calls(folder: Path) -> dict[int, float]:
    """Return when each process began its first call."""
    calls = sorted(oracle.journal(folder), key=lambda call: -call.at)
    return {call.pid: call.at for call in calls}


def _used(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
