"""Our worker beside bare pgmq and others, on one embedded PostgreSQL: only ratios count.

    make bench                                            # short: three minutes or so
    make bench-all                                        # all peers, seven rounds, the page
    .venv/bin/python benchmarks/run.py --workloads fanout=8000 --rounds 5
    .venv/bin/python benchmarks/run.py --peers pgqueuer dbos --workloads chain=5 --rounds 1
    .venv/bin/python benchmarks/run.py --against ../pgflow-yaml-before
    .venv/bin/python benchmarks/run.py --workloads --sections growth --short
    .venv/bin/python benchmarks/run.py --from bench-results.json --picture picture.svg

Rounds are interleaved: each takes every workload in turn, and in it every peer, each in a fresh
process and a fresh database. A peer is a file as `peer.py` describes it; one that cannot be
installed is named and left out. `--against` measures another checkout of this project, which
runs its own code in its own `.venv`, and prints our figures as multiples of its figures.
Exit code 1: a figure is below its floor, or ours, pgmq or the other checkout failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import growth
import lateness
import lines
import pruning
import workers
from environments import CannotInstall, Entry, checkout, installed
from farm import FULL, SHORT, Sizes
from figures import (
    AGAINST,
    Target,
    against_table,
    engine_targets,
    figures,
    missing,
    peer_table,
    target_table,
)
from peer import Workload, load_peer
from picture import picture
from rounds import run_rounds
from server import WORK, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HERE = Path(__file__).resolve().parent
FEW = "chain=20 fanout=2000 diamonds=500 backlog=5000"
ALL = "chain=20 fanout=2000 fanout=8000 diamonds=500 backlog=20000"
OTHERS = ("pgqueuer", "procrastinate", "pgflow_core", "dbos", "absurd")
SECTIONS: dict[str, tuple[Callable[[Server, Sizes], list[Target]], ...]] = {
    "idle": (workers.idle,),
    "lateness": (lateness.lateness,),
    "growth": (growth.fan_out, growth.claims, growth.history, growth.chain, growth.memory),
    "pruning": (pruning.pruning,),
    "lines": (lines.lines,),
    "workers": (workers.throughput, workers.slots, workers.fairness),
}
"""Measurements without other engines, each with targets of its own."""
USUAL = ("lateness",)

BEGIN = "<!-- figures: written by make bench-all, do not edit -->"
END = "<!-- end of the figures -->"


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--all", action="store_true", help="all peers, sizes and sections; seven rounds")
    add("--workloads", nargs="*", type=Workload.parse, metavar="NAME=SIZE")
    add("--rounds", type=int)
    add("--peers", nargs="*", choices=OTHERS, help="peers beside pgmq and ours")
    add("--against", type=Path, metavar="PATH", help="another checkout, with a .venv of its own")
    add("--sections", nargs="*", choices=SECTIONS, help="measurements of ours alone")
    add("--short", action="store_true", help="sections at the size of a test")
    add("--timeout", type=float, default=120, help="seconds for one measured run")
    add("--work", type=Path, default=WORK, help="folder of data and peers")
    add("--json", type=Path, default=Path("bench-results.json"), metavar="FILE")
    add("--from", type=Path, dest="source", metavar="FILE", help="measure nothing, read this")
    add("--picture", type=Path, metavar="FILE", help="draw the figures")
    add("--docs", type=Path, metavar="FILE", help="rewrite the figures of this page")
    args = parser.parse_args()
    workloads, rounds, peers, names = (
        (ALL, 7, OTHERS, SECTIONS) if args.all else (FEW, 3, (), USUAL)
    )
    if args.workloads is None:
        args.workloads = [Workload.parse(text) for text in workloads.split()]
    args.rounds = args.rounds or rounds
    args.peers = list(peers) if args.peers is None else args.peers
    args.sections = list(names) if args.sections is None else args.sections
    return args


def entries(names: list[str], folder: Path) -> tuple[list[Entry], dict[str, str]]:
    """Return the peers, pgmq and ours first, and why others are left out."""
    peers, left_out = [], {}
    for stem in ["pgmq_raw", "pgflow_yaml_peer", *(f"{name}_peer" for name in names)]:
        path = HERE / "peers" / f"{stem}.py"
        cls = load_peer(path)
        try:
            peers.append(installed(path, cls, folder))
        except CannotInstall as error:
            left_out[cls.NAME] = str(error)
            print(f"left out {cls.NAME}: {error}", file=sys.stderr, flush=True)
    return peers, left_out


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Measure everything that the command line names; return the report, ready for JSON."""
    peers, left_out = entries(args.peers, args.work.resolve())
    if args.against:
        try:
            peers.append(checkout(peers[1], args.against))
        except CannotInstall as error:
            sys.exit(f"--against: {error}")
    server = Server(args.work.resolve() / "server")
    try:
        rows = run_rounds(server, peers, args.workloads, rounds=args.rounds, timeout=args.timeout)
        targets, errors = sections(server, args.sections, SHORT if args.short else FULL)
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), **server.facts()}
    finally:
        server.close()
    summary = figures(rows)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "rounds": args.rounds,
        "versions": {peer.name: peer.versions for peer in peers},
        "left_out": left_out,
        "errors": [*missing(summary), *errors],
        "targets": [target.as_row() for target in (*engine_targets(summary), *targets)],
        "rows": rows,
    }


def sections(server: Server, names: Iterable[str], sizes: Sizes) -> tuple[list[Target], list[str]]:
    """Measure some sections; where one measurement fails, the others are kept."""
    targets, errors = [], []
    for measure in [measure for name in names for measure in SECTIONS[name]]:
        name = measure.__name__
        began = time.monotonic()
        try:
            results = measure(server, sizes)
        except Exception as error:  # noqa: BLE001 (any error: the other figures must survive)
            traceback.print_exc()
            errors.append(f"{name}: {type(error).__name__}: {error}")
            continue
        targets += results
        print(target_table(results), file=sys.stderr)
        print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return targets, errors


def tables(report: dict[str, Any]) -> tuple[str, str]:
    """Format the targets, and all peers side by side."""
    targets = target_table(map(Target.from_row, report["targets"]))
    peers = [f"- {name}: {', '.join(versions)}" for name, versions in report["versions"].items()]
    peers += [f"- {name}: left out, {reason}" for name, reason in report["left_out"].items()]
    return targets, "\n\n".join([peer_table(figures(report["rows"])), "\n".join(peers)])


def page(report: dict[str, Any], text: str) -> str:
    """Return the text of a page with the figures of this report between its marks."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the page needs one line {BEGIN!r} and after it one line {END!r}")
    machine = report["machine"]
    settings = ", ".join(f"{name} {machine[name]}" for name in ("fsync", "synchronous_commit"))
    head = (
        f"Taken {report['at'][:10]}: {machine['cores']} cores, PostgreSQL "
        f"{machine['server_version']} ({settings}), Python {machine['python']}, "
        f"{report['rounds']} interleaved round{'s' * (report['rounds'] != 1)}; "
        "medians, in brackets the lowest and the highest round."
    )
    targets, peers = tables(report)
    parts = [BEGIN, head, "### Targets", targets, "### Side by side", peers, END]
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    return before + "\n\n".join(parts) + after


def main() -> int:
    """Measure or read, print the tables, write the files."""
    args = arguments()
    if args.source:
        report: dict[str, Any] = json.loads(args.source.read_text())
    else:
        report = measured(args)
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    if args.picture:
        args.picture.write_text(picture(figures(report["rows"])))
    if args.docs:
        args.docs.write_text(page(report, args.docs.read_text()))
    targets, peers = tables(report)
    against = [against_table(report["rows"])] if AGAINST in report["versions"] else []
    print(peers, targets, *against, sep="\n\n")
    for error in report["errors"]:
        print(f"failed: {error}", file=sys.stderr)
    failed = any(target["verdict"] == "below the floor" for target in report["targets"])
    return 1 if report["errors"] or failed else 0


if __name__ == "__main__":
    sys.exit(main())
