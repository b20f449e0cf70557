"""The time from kill -9 of a worker until another one works on its tasks (G4)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgflow_yaml import Client
from pgflow_yaml.project.flow_set import FlowSet
from tests.chaos import mix, oracle
from tests.chaos.fleet import Fleet
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from tests.chaos.oracle import Call

HELD = 50


def takeovers(
    conninfo: str, folder: Path, *, trials: int, lease: float, chance: Random
) -> list[float]:
    """Kill the owner of a run's tasks, again and again; return the seconds for each task.

    The survivor is idle, which is its slowest state, and is the victim of the next trial.
    """
    seconds: list[float] = []
    with (
        Client(conninfo) as client,
        Fleet(conninfo, folder, size=0, lease=lease, slots=HELD) as fleet,
    ):
        client.deploy(FlowSet.load([mix.APP / "gates.yaml"]))
        for gate in ("soon-2", "later-2"):
            (folder / f"open-{gate}").touch()
        victim = fleet.another()
        for _ in range(trials):
            run = client.start_run("chaos_gates").run_id
            _until_begun(folder, run, fence=1)
            survivor = fleet.another()
            survivor.wait_for("worker started")
            time.sleep(chance.uniform(2, 2 + lease))  # somewhere between two heartbeats
            victim.kill()
            killed = time.time()
            taken = _until_begun(folder, run, fence=2)
            seconds += [call.at - killed for call in taken]
            victim = survivor
    return seconds


def _until_begun(folder: Path, run: str, *, fence: int) -> list[Call]:
    """Wait until each task of the run has begun with this fence; return these calls."""

    def begun() -> list[Call]:
        wanted = (run, fence, "begin")
        calls = oracle.journal(folder)
        found = [call for call in calls if (call.run, call.fence, call.what) == wanted]
        return found if len(found) == HELD else []

    return eventually(begun, seconds=90, what=f"each task begins with fence {fence}")
