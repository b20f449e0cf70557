"""Our worker beside bare pgmq and others, on one embedded PostgreSQL: only ratios count.

    make bench                                            # short: two minutes or so
    make bench-all                                        # all peers, seven rounds, the page
    .venv/bin/python benchmarks/run.py --workloads fanout=8000 --rounds 5
    .venv/bin/python benchmarks/run.py --peers pgqueuer,dbos --workloads chain=5 --rounds 1
    .venv/bin/python benchmarks/run.py --from bench-results.json --picture docs/performance.svg

Rounds are interleaved: each takes every workload in turn, and in it every peer, each in a fresh
process and a fresh database. A peer is a file as `common.py` describes it; one that cannot be
installed is named and left out. Exit code 1: a figure is below its floor, or ours or pgmq failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asked import engine_targets, missing
from common import WORKLOADS, load_peer
from environments import CannotInstall, Entry, installed
from page import generated, peers_text, rewritten, targets_of
from picture import picture
from report import Figure, figures, peer_table
from rounds import parse_sizes, run_rounds
from server import WORK, Server
from targets import Target, floor_missed, target_table

HERE = Path(__file__).resolve().parent
SHORT = "chain=20,fanout=2000,diamonds=500,backlog=5000"
ALL = "chain=20,fanout=2000,fanout=8000,diamonds=500,backlog=20000"
OTHERS = {
    "pgqueuer": "pgqueuer_peer",
    "procrastinate": "procrastinate_peer",
    "pgflow_core": "pgflow_core_peer",
    "dbos": "dbos_peer",
    "absurd": "absurd_peer",
}
SECTIONS = ("idle", "growth", "workers")
"""Modules with targets of their own: `sections` as `targets.py` says."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--all", action="store_true", help="all peers, sizes and sections; seven rounds")
    add("--workloads", help=f"NAME=SIZE,… of {', '.join(WORKLOADS)}")
    add("--rounds", type=int)
    add("--peers", help=f"beside pgmq and ours: {', '.join(OTHERS)}; none")
    add("--sections", help=f"of {', '.join(SECTIONS)}; none")
    add("--short", action="store_true", help="sections at the size of a test")
    add("--timeout", type=float, default=120, help="seconds for one measured run")
    add("--work", type=Path, default=WORK, help="where data and peers lie")
    add("--json", type=Path, default=Path("bench-results.json"), metavar="FILE")
    add("--from", type=Path, dest="source", metavar="FILE", help="measure nothing, read this")
    add("--picture", type=Path, metavar="FILE", help="draw the figures")
    add("--docs", type=Path, metavar="FILE", help="rewrite the figures of this page")
    args = parser.parse_args()
    args.workloads = args.workloads or (ALL if args.all else SHORT)
    args.rounds = args.rounds or (7 if args.all else 3)
    args.peers = _listed(args.peers, OTHERS, everything=args.all)
    args.sections = _listed(args.sections, SECTIONS, everything=args.all)
    return args


def _listed(text: str | None, known: Any, *, everything: bool) -> list[str]:
    if text is None:
        return list(known) if everything else []
    names = [] if text == "none" else text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def entries(names: list[str], folder: Path) -> tuple[list[Entry], dict[str, str]]:
    """The peers, pgmq and ours first, and why others are left out."""
    found, left_out = [], {}
    for stem in ["pgmq_raw", "pgflow_yaml_peer", *(OTHERS[name] for name in names)]:
        path = HERE / "peers" / f"{stem}.py"
        cls = load_peer(path)
        try:
            found.append(installed(path, cls, folder))
        except CannotInstall as error:
            left_out[cls.NAME] = str(error)
            print(f"left out {cls.NAME}: {error}", file=sys.stderr, flush=True)
    return found, left_out


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Run everything that was asked for; the report, ready for JSON."""
    peers, left_out = entries(args.peers, args.work.resolve())
    server = Server(args.work.resolve() / "server")
    try:
        sizes = parse_sizes(args.workloads)
        rows = run_rounds(server, peers, sizes, rounds=args.rounds, timeout=args.timeout)
        extra = [section(server, name, short=args.short) for name in args.sections]
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), **server.facts()}
    finally:
        server.close()
    found = figures(rows)
    targets = [*engine_targets(found), *(t for targets, _ in extra for t in targets)]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "rounds": args.rounds,
        "versions": {peer.name: peer.versions or ["this project's environment"] for peer in peers},
        "left_out": left_out,
        "errors": [*missing(found), *(error for _, error in extra if error)],
        "targets": [target.as_row() for target in targets],
        "figures": [figure.as_row() for figure in found],
        "rows": rows,
    }


def section(server: Server, name: str, *, short: bool) -> tuple[list[Target], str | None]:
    """The targets of one module, or what it failed of: the other figures are kept."""
    print(f"measuring {name} …", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        targets: list[Target] = importlib.import_module(name).sections(server, short=short)
    except Exception as error:  # noqa: BLE001 (whatever it is, the other figures must survive)
        traceback.print_exc()
        return [], f"{name}: {type(error).__name__}: {error}"
    print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return targets, None


def main() -> int:
    """Measure or read, print the tables, write what was asked for."""
    args = arguments()
    if args.source:
        report: dict[str, Any] = json.loads(args.source.read_text())
    else:
        report = measured(args)
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    found, targets = [Figure.from_row(row) for row in report["figures"]], targets_of(report)
    if args.picture:
        args.picture.write_text(picture(found))
    if args.docs:
        args.docs.write_text(rewritten(args.docs.read_text(), generated(report)))
    print(peer_table(found), peers_text(report), target_table(targets), sep="\n\n")
    for error in report["errors"]:
        print(f"failed: {error}", file=sys.stderr)
    return 1 if report["errors"] or floor_missed(targets) else 0


if __name__ == "__main__":
    sys.exit(main())
