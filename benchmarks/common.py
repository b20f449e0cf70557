"""What every peer shares: the workloads' shapes, the result, and the process that runs one.

A peer file defines a class `Peer` with

* `NAME`, and optionally `PGMQ = True` (wants pgmq loaded in its database);
* `__init__(dsn, options)`, `setup()` and `close()`, none of them timed;
* `chain(n)`, `fanout(n)`, `diamonds(n)`, `backlog(n)`, each returning a `Result`.

`Router` walks a workload's shape in the memory of one process, for queues that know no graph.
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
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

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


class PeerClass(Protocol):
    """What the class `Peer` of a peer file looks like from here."""

    NAME: str

    def __init__(self, dsn: str, options: dict[str, str]) -> None:
        """Keep where the database is."""

    def setup(self) -> None:
        """Connect and install; not timed."""

    def close(self) -> None:
        """Disconnect; not timed."""


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


def load_peer(path: Path) -> type[PeerClass]:
    """The class `Peer` of a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    peer: type[PeerClass] = module.Peer
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
    parser.add_argument("--options", type=json.loads, default={})
    args = parser.parse_args()
    peer = load_peer(args.peer)(args.dsn, args.options)
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
