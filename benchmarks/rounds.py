"""Interleaved rounds: each takes every workload in turn, and in it every peer, first ones last."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from server import Row, Server, measure

if TYPE_CHECKING:
    from environments import Entry

Size = tuple[str, int]


def parse_sizes(text: str) -> list[Size]:
    """The workloads of NAME=SIZE,NAME=SIZE."""
    pairs = (part.split("=", 1) for part in text.split(","))
    return [(name, int(size)) for name, size in pairs]


def size_for(entry: Entry, workload: str, asked: int, *, sizes: list[Size]) -> int | None:
    """The size at which a peer runs a workload; None where it has a smaller one of its own."""
    limit = entry.cls.LIMITS.get(workload, asked)
    if limit >= asked:
        return asked
    # The largest limit stands for all larger sizes: once is enough.
    smaller = [n for name, n in sizes if name == workload and limit <= n < asked]
    return None if smaller else limit


def run_rounds(
    server: Server, entries: list[Entry], sizes: list[Size], *, rounds: int, timeout: float
) -> list[Row]:
    """Every measured run, each in a fresh process and a fresh database."""
    rows: list[Row] = []
    for turn in range(rounds):
        present = [entry for entry in entries if turn < (entry.cls.ROUNDS or rounds)]
        shift = turn % len(present)
        for workload, asked in sizes:
            for entry in present[shift:] + present[:shift]:
                n = size_for(entry, workload, asked, sizes=sizes)
                if n is None:
                    continue
                head = {"round": turn, "peer": entry.name, "workload": workload, "size": asked}
                facts = measure(server, entry, workload=workload, n=n, timeout=timeout)
                rows.append({**head, "n": n, **facts})
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows
