"""Our worker beside bare pgmq, on one embedded PostgreSQL, in one run: only ratios count.

    make bench                                            # short: two minutes or so
    .venv/bin/python benchmarks/run.py --workloads fanout=8000 --rounds 5
    .venv/bin/python benchmarks/run.py --peer a/peer.py --python other=a/venv/bin/python

Rounds are interleaved: each takes every workload in turn, and in it every peer, each in a
fresh process and a fresh database. A peer is a file as `common.py` describes it.
Exit code 1: a ratio is below its floor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from common import WORKLOADS, load_peer
from report import ratio_table, ratios, table
from server import Entry, Row, Server, measure

HERE = Path(__file__).resolve().parent
PEERS = [HERE / "peers" / "pgmq_raw.py", HERE / "peers" / "pgflow_yaml_peer.py"]
SHORT = "chain=20,fanout=2000,diamonds=500,backlog=5000"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--workloads", default=SHORT, help=f"NAME=SIZE,… of {', '.join(WORKLOADS)}")
    add("--rounds", type=int, default=3)
    add("--timeout", type=float, default=120, help="seconds for one measured run")
    add("--peer", type=Path, action="append", default=[], help="file of one more peer")
    add("--python", action="append", default=[], metavar="NAME=PATH", help="a peer's interpreter")
    add("--work", type=Path, default=HERE.parent / ".pgflow" / "bench", help="where data lie")
    add("--out", type=Path, default=Path("bench-results.json"))
    return parser.parse_args()


def entries(args: argparse.Namespace) -> list[Entry]:
    """The peers, ours and pgmq first."""
    pythons = dict(text.split("=", 1) for text in args.python)
    found = []
    for path in [*PEERS, *args.peer]:
        cls = load_peer(path)
        found.append(Entry(path.resolve(), cls, pythons.get(cls.NAME, sys.executable)))
    return found


def main() -> int:
    """Measure, print both tables, write the JSON."""
    args = arguments()
    peers = entries(args)
    sizes = [(name, int(n)) for name, n in (s.split("=") for s in args.workloads.split(","))]
    server = Server(args.work.resolve())
    rows: list[Row] = []
    try:
        for turn in range(args.rounds):
            for workload, n in sizes:
                shift = turn % len(peers)
                for peer in peers[shift:] + peers[:shift]:
                    facts = measure(server, peer, workload=workload, n=n, timeout=args.timeout)
                    head = {"round": turn, "peer": peer.label, "workload": workload, "n": n}
                    rows.append(head | facts)
                    print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), **server.facts()}
    finally:
        server.close()
    found = ratios(rows, ours=peers[1].label, limit=peers[0].label)
    print(table(rows), ratio_table(found), sep="\n\n")
    taken = datetime.now(UTC).isoformat(timespec="seconds")
    report = {"at": taken, "machine": machine, "ratios": found, "rows": rows}
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    failed = any("error" in row for row in rows) or any(row["met"] is False for row in found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
