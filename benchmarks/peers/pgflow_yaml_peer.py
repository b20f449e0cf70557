"""Ours: flows deployed and started by the client, one `Worker` with its defaults in this process.

The handlers do nothing, so what is measured is the engine and the worker. A workload is over
when the database says that every run is completed, not when the last handler has returned.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from common import BasePeer, Result, hop_p50, total_tasks

from pgflow_yaml import Client, Worker, load
from pgflow_yaml.database import migrate

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

HERE = Path(__file__).resolve()
PREFIX = f"{HERE.stem}.Calls"
FLOW = "bench"


class Calls:
    """The handlers: they count, and stamp the times for chains."""

    total = 0
    width = 0
    done = threading.Event()
    stamps: ClassVar[list[float]] = []

    @classmethod
    def step(cls, _: Json) -> Json:
        """Any step: say that it was called."""
        cls.stamps.append(time.perf_counter())
        if len(cls.stamps) == cls.total:
            cls.done.set()
        return {"ok": True}

    @classmethod
    def root(cls, value: Json) -> Json:
        """The first step of a fan-out: its items."""
        cls.step(value)
        return list(range(cls.width))


class Peer(BasePeer):
    """One worker with its defaults."""

    NAME = "pgflow_yaml"

    def setup(self) -> None:
        """Install the engine and connect."""
        migrate.apply(self.dsn)
        self._client = Client(self.dsn)
        sys.modules[HERE.stem] = sys.modules[__name__]

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def chain(self, n: int) -> Result:
        """N steps, each behind the one before."""
        steps = [_step(f"s{i}", *([f"s{i - 1}"] if i else [])) for i in range(n)]
        return self._run("chain", n, steps)

    def fanout(self, n: int) -> Result:
        """One step, one task for each item of its output, one step behind them all."""
        Calls.width = n
        each = _step("each", "root", "map: steps.root.output")
        return self._run("fanout", n, [_step("root", handler="root"), each, _step("last", "each")])

    def diamonds(self, n: int) -> Result:
        """N runs of four steps."""
        middle = [_step("analyze", "fetch"), _step("summarize", "fetch")]
        return self._run(
            "diamonds", n, [_step("fetch"), *middle, _step("save", "analyze, summarize")]
        )

    def backlog(self, n: int) -> Result:
        """N runs of one step."""
        return self._run("backlog", n, [_step("job")])

    def _run(self, workload: str, n: int, steps: list[str]) -> Result:
        runs = n if workload in ("diamonds", "backlog") else 1
        Calls.total = total_tasks(workload, n)
        self._deploy(steps)
        began = time.perf_counter()
        self._client.start_many(FLOW, [{}] * runs)
        enqueued = time.perf_counter()
        worker = Worker(self.dsn, app_dir=HERE.parent)
        thread = threading.Thread(target=worker.run)
        thread.start()
        Calls.done.wait()
        while self._completed() < runs:
            time.sleep(0.001)
        ended = time.perf_counter()
        worker.stop()
        thread.join()
        return Result(
            tasks=Calls.total,
            seconds=ended - enqueued,
            runs=runs,
            enqueue_seconds=enqueued - began,
            hop_ms_p50=hop_p50(Calls.stamps) if workload == "chain" else None,
        )

    def _deploy(self, steps: list[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "bench.yaml"
            file.write_text("\n".join([f"flow: {FLOW}", "steps:", *steps, ""]))
            self._client.deploy(load(file))

    def _completed(self) -> int:
        return int(self._client.list_flows()[0]["runs"]["completed"])


def _step(slug: str, after: str = "", more: str = "", *, handler: str = "step") -> str:
    """The lines of one step."""
    lines = [f"  {slug}:", f"    handler: {PREFIX}.{handler}"]
    lines += [f"    depends_on: [{after}]"] if after else []
    lines += [f"    {more}"] if more else []
    return "\n".join(lines)
