"""The workloads, the engines that run them, and the process of one measured run.

A peer file defines a class `Peer`. An engine extends `BasePeer` and runs a `Workload` itself. A
queue without a graph extends `QueuePeer`: a `Router` walks the graph in the worker's memory. Its
joins are not durable: an upper bound for a queue. A peer imports its libraries inside its
methods, so that the file loads where they are not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import resource
import statistics
import sys
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

WORKLOADS = ("chain", "fanout", "diamonds", "backlog")

Message = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One step of a workload; `items` is the width of a map."""

    slug: str
    after: tuple[str, ...] = ()
    items: int | None = None

    @property
    def tasks(self) -> int:
        """Number of tasks in one run."""
        return 1 if self.items is None else self.items


@dataclass(frozen=True)
class Workload:
    """A shape and its size."""

    name: str
    size: int

    @classmethod
    def parse(cls, text: str) -> Workload:
        """Read NAME=SIZE."""
        name, _, size = text.partition("=")
        if name not in WORKLOADS or not size.isdigit():
            message = f"{text} is not NAME=SIZE with a name of {', '.join(WORKLOADS)}"
            raise argparse.ArgumentTypeError(message)
        return cls(name, int(size))

    @property
    def runs(self) -> int:
        """Number of runs."""
        return self.size if self.name in ("diamonds", "backlog") else 1

    @property
    def tasks(self) -> int:
        """Number of tasks in all runs."""
        return self.runs * sum(step.tasks for step in self.steps)

    @property
    def steps(self) -> list[Step]:
        """The steps of one run; the first one starts it."""
        if self.name == "chain":
            return [Step(f"s{i}", (f"s{i - 1}",) if i else ()) for i in range(self.size)]
        if self.name == "fanout":
            return [Step("root"), Step("each", ("root",), self.size), Step("last", ("each",))]
        if self.name == "diamonds":
            middle = [Step(slug, ("fetch",)) for slug in ("analyze", "summarize")]
            return [Step("fetch"), *middle, Step("save", ("analyze", "summarize"))]
        return [Step("job")]


class BasePeer(ABC):
    """An engine or queue under measurement."""

    NAME: ClassVar[str]
    REQUIREMENTS: ClassVar[tuple[str, ...]] = ()
    """Packages of its own environment; with none it runs in ours."""
    NPM: ClassVar[str | None] = None
    """An npm package to unpack; `package` is the folder."""
    PGMQ: ClassVar[bool] = False
    """Install pgmq in its database."""
    ROUNDS: ClassVar[int | None] = None
    """The rounds of a slow peer; LIMITS are its largest sizes."""
    LIMITS: ClassVar[dict[str, int]] = {}

    def __init__(self, dsn: str, package: Path | None = None) -> None:
        self.dsn, self.package = dsn, package
        self.stamps: list[float] = []

    @abstractmethod
    def setup(self) -> None:
        """Connect and install; not timed."""

    @abstractmethod
    def run(self, workload: Workload) -> float:
        """Start the workload, work until all of it is done, return the seconds of the work.

        `stamps` holds the times at which steps were called, for the hops of a chain.
        """

    @abstractmethod
    def close(self) -> None:
        """Disconnect; not timed."""


class Router:
    """The graph of a workload, walked in memory: the first messages, and those that follow."""

    def __init__(self, workload: Workload, stamps: list[float]) -> None:
        self.workload, self.total, self.finished = workload, workload.tasks, 0
        self.stamps = stamps
        self.done = threading.Event()
        self.ended: float | None = None
        steps = {step.slug: step for step in workload.steps}
        needs = {slug: sum(steps[s].tasks for s in step.after) for slug, step in steps.items()}
        self._after = {
            slug: [(s.slug, s.tasks, needs[s.slug]) for s in steps.values() if slug in s.after]
            for slug in steps
        }
        self._left: dict[tuple[int, str], int] = {}
        self._lock = threading.Lock()

    def first(self) -> list[Message]:
        """Return the messages that start the workload."""
        slug = self.workload.steps[0].slug
        return [{"run": run, "step": slug, "i": 0} for run in range(self.workload.runs)]

    def finish(self, message: Message) -> list[Message]:
        """Count a message as done and return the messages that it makes possible."""
        with self._lock:
            self.finished += 1
            if self.workload.name == "chain":
                self.stamps.append(time.perf_counter())
            following = self._following(message["run"], message["step"])
            if self.finished == self.total:
                self.ended = time.perf_counter()
                self.done.set()
            return following

    def _following(self, run: int, slug: str) -> list[Message]:
        messages: list[Message] = []
        for after, tasks, needs in self._after[slug]:
            left = self._left[run, after] = self._left.get((run, after), needs) - 1
            if left == 0:
                messages += [{"run": run, "step": after, "i": i} for i in range(tasks)]
        return messages


class QueuePeer(BasePeer):
    """A queue without a graph: each job calls `finish`, which sends the jobs that follow."""

    router: Router

    @abstractmethod
    async def open(self) -> None:
        """Connect and install."""

    @abstractmethod
    async def send(self, messages: list[Message]) -> None:
        """Put at most a thousand messages into the queue, or all that follow one."""

    @abstractmethod
    async def work(self) -> None:
        """Run the library's worker; it is cancelled at the end."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Close the connections."""

    async def stop(self, worker: asyncio.Task[None]) -> None:
        """Let the worker end in its own way before it is cancelled."""

    async def finish(self, message: Message) -> None:
        """Send the messages that follow this one."""
        following = self.router.finish(message)
        if following:
            await self.send(following)

    def setup(self) -> None:
        """Open it on a loop of its own."""
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self.open())

    def run(self, workload: Workload) -> float:
        """Send the first messages, then work until all messages are done."""
        return self._loop.run_until_complete(self._run(workload))

    def close(self) -> None:
        """Disconnect."""
        self._loop.run_until_complete(self.disconnect())
        self._loop.close()

    async def _run(self, workload: Workload) -> float:
        router = self.router = Router(workload, self.stamps)
        first = router.first()
        for start in range(0, len(first), 1000):
            await self.send(first[start : start + 1000])
        began = time.perf_counter()
        worker = asyncio.create_task(self.work())
        # A coarse poll is enough: the router has stamped the end.
        while not router.done.is_set() and not worker.done():  # noqa: ASYNC110 (or a thread)
            await asyncio.sleep(0.005)
        await self.stop(worker)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        if router.ended is None:
            raise RuntimeError(f"its worker ended after {router.finished} of {router.total} tasks")
        return router.ended - began


def load_peer(path: Path) -> type[BasePeer]:
    """Import the class `Peer` of a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    peer: type[BasePeer] = module.Peer
    return peer


def peak_rss_mib() -> float:
    """Return the largest resident set of this process or of any child it has waited for."""
    # /proc first: RUSAGE_SELF begins at the size of the parent when it forked.
    status = Path("/proc/self/status")
    if status.exists():
        own = int(status.read_text().partition("VmHWM:")[2].split()[0])
    else:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def main() -> None:
    """Run one peer on one workload, in step with its parent: ready, go, result, close."""
    path, dsn, name, size, *package = sys.argv[1:]
    workload = Workload(name, int(size))
    peer = load_peer(Path(path))(dsn, *map(Path, package))
    peer.setup()
    print(json.dumps({"bench": "ready"}), flush=True)
    sys.stdin.readline()
    result = {"tasks": workload.tasks, "seconds": peer.run(workload)}
    result["rss_mib"] = round(peak_rss_mib(), 1)
    if name == "chain":
        hops = [later - earlier for earlier, later in pairwise(peer.stamps)]
        result["hop_ms_p50"] = 1000 * statistics.median(hops)
    print(json.dumps({"bench": "result", **result}), flush=True)
    sys.stdin.readline()
    peer.close()


if __name__ == "__main__":
    # A peer file imports `peer`: give it this module instead of a second copy.
    sys.path.insert(0, str(Path(__file__).parent))
    sys.modules["peer"] = sys.modules["__main__"]
    main()
