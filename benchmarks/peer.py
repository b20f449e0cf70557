"""What every peer shares: the workloads' shapes, the result, and the process that runs one.

A peer file defines a class `Peer`, of one of two kinds: `BasePeer` runs each workload itself;
`QueuePeer` is the short way for queues that know no graph: a `Router` walks the workload's shape
in the memory of the worker's process. Joins are not durable there: an upper bound for a queue.
A peer imports its libraries inside `setup`, so that its file loads where they are not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import sys
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

WORKLOADS = ("chain", "fanout", "diamonds", "backlog")

Message = dict[str, Any]


@dataclass
class Result:
    """One measured workload; `seconds` is the drain alone: what was started is not timed."""

    tasks: int
    seconds: float
    runs: int = 1
    enqueue_seconds: float | None = None
    hop_ms_p50: float | None = None


class BasePeer(ABC):
    """What the runner asks of every peer, and where its database is."""

    NAME: ClassVar[str]
    REQUIREMENTS: ClassVar[tuple[str, ...]] = ()
    """What its environment holds; with none it runs in ours."""
    NPM: ClassVar[str | None] = None
    """A package that it needs unpacked; `package` is the folder."""
    PGMQ: ClassVar[bool] = False
    """Whether it wants pgmq in its database."""
    ROUNDS: ClassVar[int | None] = None
    """A slow one takes part in so many rounds, and in workloads of at most the sizes of LIMITS."""
    LIMITS: ClassVar[dict[str, int]] = {}

    def __init__(self, dsn: str, package: Path | None = None) -> None:
        """Keep where the database and the package are."""
        self.dsn, self.package = dsn, package

    @abstractmethod
    def setup(self) -> None:
        """Connect and install; not timed."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect; not timed."""

    @abstractmethod
    def chain(self, n: int) -> Result:
        """N steps, each behind the one before."""

    @abstractmethod
    def fanout(self, n: int) -> Result:
        """One step, n tasks over its output, one step behind them all."""

    @abstractmethod
    def diamonds(self, n: int) -> Result:
        """N times one, two, one."""

    @abstractmethod
    def backlog(self, n: int) -> Result:
        """N runs of one step."""


def total_tasks(workload: str, n: int) -> int:
    """How many tasks a workload of size n has."""
    return {"chain": n, "fanout": n + 2, "diamonds": 4 * n, "backlog": n}[workload]


def hop_p50(stamps: list[float]) -> float:
    """The median gap, in ms, between the times at which successive steps ran."""
    return statistics.median((b - a) * 1000 for a, b in pairwise(stamps))


class Router:
    """The tasks of a workload as messages: the first ones, and what each one leads to."""

    def __init__(self, workload: str, n: int) -> None:
        """Begin with nothing finished."""
        self.workload, self.n = workload, n
        self.total, self.finished = total_tasks(workload, n), 0
        self.stamps: list[float] = []
        self.done = threading.Event()
        self.ended: float | None = None
        self._waiting: dict[int, int] = {}
        self._lock = threading.Lock()

    def first(self) -> list[Message]:
        """The messages that start the workload."""
        step = {"chain": "0", "fanout": "root", "diamonds": "fetch", "backlog": "job"}
        count = self.n if self.workload in ("diamonds", "backlog") else 1
        return [{"run": run, "step": step[self.workload], "i": 0} for run in range(count)]

    def finish(self, message: Message) -> list[Message]:
        """Count a message as done and return the messages that it makes possible."""
        with self._lock:
            self.finished += 1
            if self.workload == "chain":
                self.stamps.append(time.perf_counter())
            following = self._following(message)
            if self.finished == self.total:
                self.ended = time.perf_counter()
                self.done.set()
            return following

    def _following(self, message: Message) -> list[Message]:
        run, step = message["run"], message["step"]
        if self.workload == "chain" and int(step) + 1 < self.n:
            return [{"run": run, "step": str(int(step) + 1), "i": 0}]
        if step == "root":
            self._waiting[run] = self.n
            return [{"run": run, "step": "map", "i": i} for i in range(self.n)]
        if step == "fetch":
            self._waiting[run] = 2
            return [{"run": run, "step": s, "i": 0} for s in ("analyze", "summarize")]
        if step in ("map", "analyze", "summarize"):
            self._waiting[run] -= 1
            if self._waiting[run] == 0:
                last = "reduce" if step == "map" else "save"
                return [{"run": run, "step": last, "i": 0}]
        return []


class QueuePeer(BasePeer):
    """A queue without a graph: subclasses say how to enqueue messages and how to work."""

    @abstractmethod
    def enqueue(self, messages: list[Message]) -> None:
        """Put messages into the queue."""

    @abstractmethod
    def work(self, router: Router) -> None:
        """Run a worker until the router is done; stopping it may take its time."""

    def chain(self, n: int) -> Result:
        """N messages, each sent when the one before is done."""
        return self._run("chain", n)

    def fanout(self, n: int) -> Result:
        """One message, then n at once, then one."""
        return self._run("fanout", n)

    def diamonds(self, n: int) -> Result:
        """N times one, two, one."""
        return self._run("diamonds", n)

    def backlog(self, n: int) -> Result:
        """N messages that lead to nothing."""
        return self._run("backlog", n)

    def _run(self, workload: str, n: int) -> Result:
        router = Router(workload, n)
        first = router.first()
        began = time.perf_counter()
        for start in range(0, len(first), 1000):
            self.enqueue(first[start : start + 1000])
        enqueued = time.perf_counter()
        self.work(router)
        if router.ended is None:
            raise RuntimeError(f"its worker ended after {router.finished} of {router.total} tasks")
        return Result(
            tasks=router.total,
            seconds=router.ended - enqueued,
            runs=n if workload in ("diamonds", "backlog") else 1,
            enqueue_seconds=enqueued - began,
            hop_ms_p50=hop_p50(router.stamps) if workload == "chain" else None,
        )


def load_peer(path: Path) -> type[BasePeer]:
    """The class `Peer` of a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    peer: type[BasePeer] = module.Peer
    return peer


def peak_rss_mib() -> float:
    """The largest resident set of this process or of any one child it has waited for."""
    # Not RUSAGE_SELF where /proc tells: that one starts at what the parent held when it forked.
    status = Path("/proc/self/status")
    if status.exists():
        own = int(status.read_text().partition("VmHWM:")[2].split()[0])
    else:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def say(word: str, **facts: object) -> None:
    """One line for run.py."""
    print(json.dumps({"bench": word, **facts}), flush=True)


def main() -> None:
    """Run one peer on one workload, in step with run.py: ready, go, result, close."""
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", type=Path)
    parser.add_argument("dsn")
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("n", type=int)
    parser.add_argument("--package", type=Path)
    args = parser.parse_args()
    peer = load_peer(args.peer)(args.dsn, args.package)
    peer.setup()
    say("ready")
    sys.stdin.readline()
    result: Result = getattr(peer, args.workload)(args.n)
    say("result", **asdict(result), rss_mib=round(peak_rss_mib(), 1))
    sys.stdin.readline()
    peer.close()


if __name__ == "__main__":
    # Peers say `from common import …`: give them this module, not a second copy of it.
    sys.path.insert(0, str(Path(__file__).parent))
    sys.modules["common"] = sys.modules["__main__"]
    main()
