"""An idle worker process: from `Client.start` to the call of the first handler.

Starts come at random gaps, so that none of them meets the worker in step with its polls. The
handler says when it ran; its answers are read when all runs are started, so that reading does
not keep the worker awake.
"""

from __future__ import annotations

import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from targets import Target

from pgflow_yaml import Client, load
from pgflow_yaml.database import migrate

if TYPE_CHECKING:
    from server import Server

HERE = Path(__file__).resolve().parent
STARTS = 200
SHORTEST, LONGEST = 0.15, 0.45
"""Seconds between two starts."""

TARGET_MS, FLOOR_MS = 60.0, 200.0
FLOW = "flow: idle\nsteps:\n  only: {handler: idle_handlers.stamp}\n"


def sections(server: Server, *, short: bool = False) -> list[Target]:
    """The 95th percentile over at least a hundred starts."""
    delays = measure_idle(server, starts=10 if short else STARTS)
    cuts = statistics.quantiles(delays, n=20, method="inclusive")
    name = f"idle worker: start → first handler, p95 of {len(delays)} (p50 {cuts[9]:.0f} ms)"
    ends = (min(delays), max(delays))
    return [Target(name, cuts[18], TARGET_MS, FLOOR_MS, "less", unit="ms", spread=ends)]


def measure_idle(server: Server, *, starts: int) -> list[float]:
    """Milliseconds from each start to its handler."""
    database, uri = server.fresh(with_pgmq=False)
    try:
        migrate.apply(uri)
        with tempfile.TemporaryDirectory() as folder, Client(uri) as client:
            file = Path(folder) / "idle.yaml"
            file.write_text(FLOW)
            client.deploy(load(file))
            worker = _worker(uri)
            try:
                client.wait(client.start("idle").id, timeout=30)  # it has connected and imported
                return _delays(client, starts)
            finally:
                worker.send_signal(signal.SIGTERM)
                worker.wait(30)
    finally:
        server.drop(database)


def _delays(client: Client, starts: int) -> list[float]:
    chance = random.Random(20261125)
    begun: list[tuple[str, float]] = []
    for _ in range(starts):
        time.sleep(chance.uniform(SHORTEST, LONGEST))
        at = time.monotonic()
        begun.append((client.start("idle").id, at))
    delays = []
    for run_id, at in begun:
        (step,) = client.wait(run_id, timeout=30).steps
        if not isinstance(step.output, dict):
            raise TypeError(f"run {run_id} has no time of its handler")
        delays.append((float(str(step.output["at"])) - at) * 1000)
    return delays


def _worker(uri: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pgflow_yaml", "--dsn", uri]
    return subprocess.Popen(
        [*command, "worker", "--app-dir", str(HERE)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
