"""Interleaved rounds: each takes every workload in turn, and in it every peer, first ones last.

Each measured run is a fresh process with a fresh database; both speak in lines of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from peer import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from environments import Entry
    from figures import Row
    from server import Server


def size_for(entry: Entry, workload: Workload, workloads: Sequence[Workload]) -> int | None:
    """Return the size at which a peer runs a workload, None where a smaller one stands for it."""
    limit = entry.cls.LIMITS.get(workload.name, workload.size)
    if limit >= workload.size:
        return workload.size
    smaller = [w for w in workloads if w.name == workload.name and limit <= w.size < workload.size]
    return None if smaller else limit


def run_rounds(
    server: Server, entries: list[Entry], workloads: list[Workload], *, rounds: int, timeout: float
) -> list[Row]:
    """Measure every peer on every workload in every round."""
    rows: list[Row] = []
    for turn in range(rounds):
        present = [entry for entry in entries if turn < (entry.cls.ROUNDS or rounds)]
        shift = turn % len(present)
        for workload in workloads:
            for entry in present[shift:] + present[:shift]:
                n = size_for(entry, workload, workloads)
                if n is None:
                    continue
                row = measure(server, entry, Workload(workload.name, n), timeout=timeout)
                head = {"workload": workload.name, "size": workload.size, "n": n}
                rows.append({"round": turn, "peer": entry.name, **head, **row})
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def measure(server: Server, entry: Entry, workload: Workload, *, timeout: float) -> Row:
    """Measure one peer on one workload once: numbers, or an `error`."""
    name, uri = server.fresh(with_pgmq=entry.cls.PGMQ)
    child = Child(entry.command(uri, workload), timeout)
    try:
        child.expect("ready")
        # Rest: what the setup wrote is not to be in the figures. Its last commits are: an idle
        # backend hands in its statistics after up to ten seconds.
        time.sleep(1.2)
        commits, wal = server.counters(name)
        child.send("go")
        row = child.expect("result")
        wal = server.counters(name)[1] - wal
        child.send("close")
        child.end(grace=10)
        server.until_left(name)
        commits = server.counters(name)[0] - commits
    except (RuntimeError, BrokenPipeError) as error:
        return {"error": str(error)}
    finally:
        child.end()
        server.drop(name)
    row["tasks_per_s"] = round(row["tasks"] / row["seconds"], 1)
    row["commits_per_task"] = round(commits / row["tasks"], 4)
    row["wal_bytes_per_task"] = round(wal / row["tasks"], 1)
    return row


class Child:
    """The process of one measured run, killed when its time is up."""

    def __init__(self, command: list[str], timeout: float) -> None:
        pipe, self._errors = subprocess.PIPE, tempfile.TemporaryFile("w+")  # noqa: SIM115 (end closes it)
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True
        )
        self._timeout = timeout
        self._timer = threading.Timer(timeout, self._process.kill)
        self._timer.start()

    def expect(self, word: str) -> Row:
        """Return the facts of the next line with this word."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{"bench"'):
                facts: Row = json.loads(line)
                if facts.pop("bench") == word:
                    return facts
        self._errors.seek(0)
        message = "".join(self._errors.readlines()[-4:]).strip()[-300:]
        raise RuntimeError(message or f"over {self._timeout:.0f} s")

    def send(self, word: str) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def end(self, *, grace: float = 0) -> None:
        """Let it end by itself for some seconds, then kill it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        self._errors.close()
