"""Measure the goals of reliability on a database of its own: about a quarter of an hour.

    make chaos
    .venv/bin/python -m tests.chaos.run --goals G1 G2 --seed 7 --scale 0.1

Exit code 1: a goal is missed; what the oracle found is printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from tests.chaos import outages, takeovers, zombies
from tests.chaos.figures import Figure, at_least, at_most, page, percentile, table
from tests.chaos.fleet import Fleet
from tests.chaos.storm import Storm, Weather
from tests.fixtures.pg import crashable_server
from tests.fixtures.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.chaos.fleet import Undo
    from tests.chaos.storm import Aftermath, Strike
    from tests.fixtures.pg import CrashableServer

Arguments = argparse.Namespace
LARGEST = 40
"""The items of a large map: 1,000 runs then have some 25,000 tasks."""


def say(text: str) -> None:
    """Print a line to follow the measurement by."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")


def storm_figures(goal: str, after: Aftermath, weather: Weather, tasks: int) -> Iterator[Figure]:
    """Yield the figures of a storm: its size, its harm, and that nothing is wrong."""
    for fault in after.faults:
        say(f"{goal}: {fault}")
    what = f"seed {after.seed}: {after.runs:,} runs with their children, {after.tasks:,} tasks"
    yield at_least(goal, f"{what}: tasks", after.tasks, tasks)
    yield at_least(goal, "workers killed with -9", after.kills, weather.kills)
    yield at_least(goal, "attempts that such a kill ended", after.crashes, 1)
    faults = len(after.faults)
    yield Figure(goal, "runs, tasks lost, stuck, done twice or wrong", "0", str(faults), not faults)


def g1(args: Arguments, server: CrashableServer, folder: Path) -> Iterator[Figure]:
    """Kill workers."""
    weather = Weather(
        args.of(1000), args.of(100), seconds=args.of(150), largest=LARGEST, patience=120
    )
    with Fleet(server.conninfo(), folder, size=4) as fleet:
        strikes: dict[Strike, int] = {fleet.freeze: args.of(20)}
        storm = Storm(server.conninfo(), fleet, weather, seed=args.seed, strikes=strikes)
        after = storm.play()
    yield from storm_figures("G1", after, weather, args.of(20_000))


def g2(args: Arguments, server: CrashableServer, folder: Path) -> Iterator[Figure]:
    """Kill workers and the database, and cut connections."""
    weather = Weather(
        args.of(1000), args.of(100), seconds=args.of(240), largest=LARGEST, patience=180
    )
    proxy = Proxy(server.conninfo())
    crashes = cuts = 0

    def crash(chance: Random) -> Undo:
        nonlocal crashes
        crashes += 1
        server.kill()
        return chance.uniform(0, 10), server.start

    def cut(_: Random) -> None:
        nonlocal cuts
        cuts += 1
        proxy.cut()

    def lose(_: Random) -> None:
        proxy.swallow_reply_to(b'"outcome":"completed"')

    with Fleet(proxy.conninfo, folder, size=4) as fleet:
        strikes: dict[Strike, int] = {
            fleet.freeze: args.of(20),
            crash: args.of(20),
            cut: args.of(50),
            lose: args.of(50),
        }
        storm = Storm(server.conninfo(), fleet, weather, seed=args.seed, strikes=strikes)
        after = storm.play()
    proxy.close()
    yield from storm_figures("G2", after, weather, args.of(20_000))
    yield at_least("G2", "databases killed with -9, back after 0 to 10 s", crashes, args.of(20))
    yield at_least("G2", "cuts of all connections of workers", cuts, args.of(50))
    yield at_least("G2", "replies that did not arrive", proxy.swallowed, args.of(25))


def g3(args: Arguments, server: CrashableServer, folder: Path) -> Iterator[Figure]:
    """Write late."""
    found = {
        "in SQL": (args.of(1000), zombies.by_sql(server.conninfo(), args.of(1000))),
        "by SIGSTOP": (args.of(200), _by_signal(server, folder, args.of(200))),
    }
    for how, (trials, (refused, disturbed)) in found.items():
        yield at_least("G3", f"late writes refused, {how}", refused, trials)
        yield at_most("G3", f"live attempts disturbed, {how}", disturbed, 0, "")


def _by_signal(server: CrashableServer, folder: Path, trials: int) -> tuple[int, int]:
    results = []
    for nr in range(0, trials, zombies.HELD):
        (folder / str(nr)).mkdir()
        results.append(zombies.by_signal(server.conninfo(), folder / str(nr)))
    return sum(refused for refused, _ in results), sum(harm for _, harm in results)


def g4(args: Arguments, server: CrashableServer, folder: Path) -> Iterator[Figure]:
    """Kill the owner of tasks."""
    for lease, trials in ((2.0, args.of(40)), (30.0, args.of(2))):
        place = folder / f"{lease:g}"
        place.mkdir()
        seconds = takeovers.takeovers(
            server.conninfo(), place, trials=trials, lease=lease, chance=random.Random(args.seed)
        )
        what = f"takeover after kill -9, lease {lease:g} s, {len(seconds)} tasks: p99"
        yield at_most("G4", what, percentile(seconds, 0.99), lease + 1, " s")


def g5(args: Arguments, server: CrashableServer, folder: Path) -> Iterator[Figure]:
    """Leave workers without a database."""
    found = []
    for nr, seconds in enumerate([5.0] * args.of(10) + [args.outage]):
        (folder / str(nr)).mkdir()
        found.append(outages.outage(server, folder / str(nr), seconds))
    lengths = f"{len(found)} outages, the longest of {args.outage:g} s"
    worst = max(outage.ready for outage in found)
    yield at_most("G5", f"workers ready again, {lengths}", worst, 5, " s")
    yield at_most("G5", "processor while away", found[-1].cpu_percent, 2, " %")
    yield at_most("G5", "log lines in 10 s while away", found[-1].lines_in_10_s, 1, "")


GOALS = {goal.__name__.upper(): goal for goal in (g1, g2, g3, g4, g5)}


def arguments() -> Arguments:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--goals", nargs="+", choices=GOALS, default=list(GOALS))
    add("--seed", type=int, default=int(os.environ.get("PGFLOW_YAML_SEED", "0")))
    add("--scale", type=float, default=1.0, help="the share of all numbers to try")
    add("--outage", type=float, default=60, metavar="SECONDS", help="the longest outage of G5")
    add("--docs", type=Path, metavar="FILE", help="rewrite the figures of this page")
    args = parser.parse_args()
    args.seed = args.seed or random.randrange(1, 10**9)
    args.of = lambda number: max(1, round(number * args.scale))
    return args


def head(args: Arguments, server: CrashableServer) -> str:
    """Describe what was measured, where and when."""
    asked = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    with psycopg.connect(server.conninfo()) as db:
        version = db.info.parameter_status("server_version")
    return (
        f"Taken {datetime.now(UTC):%Y-%m-%d} at commit {commit} with "
        f"`python -m tests.chaos.run --seed {args.seed} --scale {args.scale:g} "
        f"--outage {args.outage:g}`: {os.cpu_count()} cores, PostgreSQL {version} with fsync on, "
        f"Python {platform.python_version()}."
    )


def main() -> int:
    """Measure, print the table, write the page."""
    args = arguments()
    figures: list[Figure] = []
    top = ""
    for name in args.goals:
        say(f"{name} begins, seed {args.seed}")
        began = time.monotonic()
        with crashable_server() as server, tempfile.TemporaryDirectory() as folder:
            top = head(args, server)
            found = list(GOALS[name](args, server, Path(folder)))
        say(f"{name} took {time.monotonic() - began:.0f} s\n{table(found)}")
        figures += found
    sys.stdout.write(f"{top}\n\n{table(figures)}\n")
    if args.docs:
        args.docs.write_text(page(args.docs.read_text(), top, figures))
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
