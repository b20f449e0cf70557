"""What is asked of the engine's speed, and where the rounds' figures stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from report import OURS, Figure, Spread
from targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Asked:
    """Tasks a second on one workload, as multiples."""

    of_pgmq: float
    floor: float
    of_pgqueuer: float


RATES = {
    "fanout": Asked(of_pgmq=0.6, floor=0.3, of_pgqueuer=3),
    "diamonds": Asked(of_pgmq=0.35, floor=0.2, of_pgqueuer=3),
    "backlog": Asked(of_pgmq=0.25, floor=0.13, of_pgqueuer=1.5),
}
HOP, HOP_FLOOR = 1.5, 2.5
COMMITS, COMMITS_FLOOR = 0.03, 0.06
WAL, WAL_FLOOR = 2.5, 4.0
MEMORY_MIB, MEMORY_FLOOR = 80.0, 120.0


def engine_targets(found: list[Figure]) -> list[Target]:
    """The targets of every workload that was measured, the rates first."""
    ours = [figure for figure in found if figure.peer == OURS]
    targets = [target for figure in ours for target in _rates(figure)]
    targets += [target for figure in ours for target in _costs(figure)]
    spreads = [f.values["rss_mib"] for f in ours if "rss_mib" in f.values]
    if spreads:
        most = max(spreads, key=lambda spread: spread.median)
        bounds = {"target": MEMORY_MIB, "floor": MEMORY_FLOOR}
        targets.append(_less("worker memory, the workload with most", most, unit="MiB", **bounds))
    return targets


def missing(found: list[Figure]) -> list[str]:
    """The workloads of ours and of pgmq in which a round ended in an error."""
    pair = (OURS, "pgmq")
    return [f"{f.peer}, {f.workload}: {f.error}" for f in found if f.error and f.peer in pair]


def _rates(figure: Figure) -> Iterator[Target]:
    what = _title(figure)
    if figure.workload == "chain":
        hop = figure.values.get("hop_x_pgmq")
        yield _less(f"{what}: hop, × pgmq's", hop, target=HOP, floor=HOP_FLOOR)
        return
    asked = RATES[figure.workload]
    rate = figure.values.get("rate_x_pgmq")
    yield _more(f"{what}: tasks/s, × pgmq", rate, target=asked.of_pgmq, floor=asked.floor)
    rival = figure.values.get("rate_x_pgqueuer")
    if rival is not None:
        yield _more(f"{what}: tasks/s, × PgQueuer", rival, target=asked.of_pgqueuer, floor=None)


def _costs(figure: Figure) -> Iterator[Target]:
    what = _title(figure)
    if figure.workload != "chain":
        commits = figure.values.get("commits_per_task")
        yield _less(f"{what}: commits a task", commits, target=COMMITS, floor=COMMITS_FLOOR)
    wal = figure.values.get("wal_x_pgmq")
    yield _less(f"{what}: WAL a task, × pgmq's", wal, target=WAL, floor=WAL_FLOOR)


def _title(figure: Figure) -> str:
    title = {"chain": "chain of {}", "fanout": "fan-out of {}", "diamonds": "{} diamonds"}
    return title.get(figure.workload, "backlog of {}").format(f"{figure.size:,}")


def _more(name: str, spread: Spread | None, **bounds: Any) -> Target:
    return _target(name, spread, better="more", **bounds)


def _less(name: str, spread: Spread | None, **bounds: Any) -> Target:
    return _target(name, spread, better="less", **bounds)


def _target(name: str, spread: Spread | None, **bounds: Any) -> Target:
    if spread is None:
        return Target(name, None, **bounds)
    ends = (spread.lowest, spread.highest)
    return Target(name, spread.median, spread=ends, **bounds)
