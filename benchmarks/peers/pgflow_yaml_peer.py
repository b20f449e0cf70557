"""Ours: flows deployed and started by the client, one `Worker` with its defaults in this process.

The handlers do nothing, so what is measured is the engine and the worker. A workload is over
when the database says that no run goes on, not when the last handler has returned.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from peer import BasePeer, Workload

from pgflow_yaml import Client, Worker, load
from pgflow_yaml.database import migrate

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

HERE = Path(__file__).resolve()
FLOW = "bench"


class Handlers:
    """The handlers of all steps: they count their calls and keep the times."""

    done = threading.Event()
    stamps: ClassVar[list[float]]
    size = tasks = 0

    @classmethod
    def step(cls, _: Json) -> Json:
        """Count a call."""
        cls.stamps.append(time.perf_counter())
        if len(cls.stamps) == cls.tasks:
            cls.done.set()
        return {"ok": True}

    @classmethod
    def root(cls, value: Json) -> Json:
        """Return the items of a fan-out."""
        cls.step(value)
        return list(range(cls.size))


class Peer(BasePeer):
    """One worker with its defaults."""

    NAME = "pgflow_yaml"

    def setup(self) -> None:
        migrate.apply(self.dsn)
        self._client = Client(self.dsn)

    def close(self) -> None:
        self._client.close()

    def run(self, workload: Workload) -> float:
        Handlers.size, Handlers.tasks = workload.size, workload.tasks
        Handlers.stamps = self.stamps
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "bench.yaml"
            file.write_text(flow_text(workload))
            self._client.deploy(load(file))
        self._client.start_many(FLOW, [{}] * workload.runs)
        began = time.perf_counter()
        worker = Worker(self.dsn, app_dir=HERE.parent)
        thread = threading.Thread(target=worker.run)
        thread.start()
        Handlers.done.wait()
        while self._goes_on():
            time.sleep(0.001)
        seconds = time.perf_counter() - began
        worker.stop()
        thread.join()
        return seconds

    def _goes_on(self) -> bool:
        # Live runs are counted exactly; of ended ones the last 10,000.
        return bool(self._client.list_flows()[0].runs["started"])


def flow_text(workload: Workload) -> str:
    """Write the YAML of a workload."""
    lines = [f"flow: {FLOW}", "steps:"]
    for step in workload.steps:
        handler = "root" if step.slug == "root" else "step"
        lines += [f"  {step.slug}:", f"    handler: {HERE.stem}.Handlers.{handler}"]
        lines += [f"    depends_on: [{', '.join(step.after)}]"] if step.after else []
        lines += [f"    map: steps.{step.after[0]}.output"] if step.items is not None else []
    return "\n".join([*lines, ""])
