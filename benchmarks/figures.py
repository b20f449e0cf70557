"""The figures of the rounds, the targets they are held against, and the tables of both."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Row = dict[str, Any]
Verdict = Literal["met", "missed", "below the floor", "not measured"]

OURS, LIMIT, RIVAL, AGAINST = "pgflow_yaml", "pgmq", "pgqueuer", "against"
"""Peers with a part of their own: the last one is another checkout of this project."""

RATIOS = {
    "rate_x_pgmq": ("tasks_per_s", LIMIT),
    "rate_x_pgqueuer": ("tasks_per_s", RIVAL),
    "hop_x_pgmq": ("hop_ms_p50", LIMIT),
    "wal_x_pgmq": ("wal_bytes_per_task", LIMIT),
}
COLUMNS = {
    "tasks_per_s": ("tasks/s", 0),
    "rate_x_pgmq": ("× pgmq", 2),
    "rate_x_pgqueuer": ("× PgQueuer", 2),
    "hop_ms_p50": ("hop, ms", 2),
    "commits_per_task": ("commits/task", 3),
    "wal_bytes_per_task": ("WAL, B/task", 0),
    "wal_x_pgmq": ("WAL × pgmq", 2),
    "rss_mib": ("memory, MiB", 0),
}
MEASURES = [key for key in COLUMNS if "_x_" not in key]
TITLES = {
    "chain": "chain of {:,}",
    "fanout": "fan-out of {:,}",
    "diamonds": "{:,} diamonds",
    "backlog": "backlog of {:,}",
}


class Goal(NamedTuple):
    """A target and a floor for one measure on some workloads."""

    title: str
    measure: str
    better: Literal["more", "less"]
    bounds: dict[str, tuple[float, float | None]]


RATES: dict[str, tuple[float, float | None]] = {
    "fanout": (0.6, 0.3),
    "diamonds": (0.35, 0.2),
    "backlog": (0.25, 0.13),
}
GOALS = (
    Goal("hop, × pgmq's", "hop_x_pgmq", "less", {"chain": (1.5, 2.5)}),
    Goal("tasks/s, × pgmq", "rate_x_pgmq", "more", RATES),
    Goal(
        "tasks/s, × PgQueuer",
        "rate_x_pgqueuer",
        "more",
        {"fanout": (3, None), "diamonds": (3, None), "backlog": (1.5, None)},
    ),
    Goal("commits a task", "commits_per_task", "less", dict.fromkeys(RATES, (0.03, 0.06))),
    Goal("WAL a task, × pgmq's", "wal_x_pgmq", "less", dict.fromkeys(TITLES, (2.5, 4.0))),
)


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure, which is the median if not said otherwise, and the two ends."""

    figure: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Figure:
    """One peer on one workload; `n` is below `size` where a slow peer ran a smaller one."""

    workload: str
    size: int
    peer: str
    n: int
    rounds: int
    values: dict[str, Spread] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One figure, its target, and the floor below which the benchmark fails."""

    name: str
    spread: Spread | None
    target: float
    floor: float | None = None
    better: Literal["more", "less"] = "more"
    unit: str = ""

    @property
    def verdict(self) -> Verdict:
        """The better of target and floor that the figure reaches."""
        if self.spread is None:
            return "not measured"
        sign = 1 if self.better == "more" else -1
        if sign * self.spread.figure >= sign * self.target:
            return "met"
        if self.floor is None or sign * self.spread.figure >= sign * self.floor:
            return "missed"
        return "below the floor"

    def as_row(self) -> Row:
        """Return the fields and the verdict, for JSON."""
        return {**asdict(self), "verdict": self.verdict}

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Return the target that `as_row` wrote."""
        fields = {key: value for key, value in row.items() if key != "verdict"}
        return cls(**{**fields, "spread": row["spread"] and Spread(**row["spread"])})


def figures(rows: list[Row]) -> list[Figure]:
    """Summarise the rounds: one figure for each workload, size and peer."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["workload"], row["size"], row["peer"]), []).append(row)
    summary = []
    for (workload, size, peer), group in groups.items():
        good = [row for row in group if "error" not in row]
        error = next((str(row["error"]) for row in group if "error" in row), None)
        series = {key: [row[key] for row in good if row.get(key) is not None] for key in MEASURES}
        for name, (key, other) in RATIOS.items():
            series[name] = ratios(good, groups.get((workload, size, other), []), key)
        values = {key: Spread.of(numbers) for key, numbers in series.items() if numbers}
        summary.append(Figure(workload, size, peer, group[0]["n"], len(good), values, error))
    return summary


def ratios(ours: list[Row], theirs: list[Row], key: str) -> list[float]:
    """Divide figures of the same round: a machine that slows down changes nothing."""
    others = {row["round"]: row.get(key) for row in theirs}
    pairs = [(row.get(key), others.get(row["round"])) for row in ours]
    return [mine / other for mine, other in pairs if mine and other]


def engine_targets(summary: list[Figure]) -> list[Target]:
    """Hold our figures against every goal of their workloads."""
    ours = [figure for figure in summary if figure.peer == OURS]
    targets = []
    for goal in GOALS:
        for figure in ours:
            target, floor = goal.bounds.get(figure.workload, (None, None))
            spread = figure.values.get(goal.measure)
            # PgQueuer is measured on request only: no line without it.
            if target is None or (spread is None and goal.measure == "rate_x_pgqueuer"):
                continue
            name = f"{TITLES[figure.workload].format(figure.size)}: {goal.title}"
            targets.append(Target(name, spread, target, floor, goal.better))
    memory = [figure.values["rss_mib"] for figure in ours if "rss_mib" in figure.values]
    if memory:
        most = max(memory, key=lambda spread: spread.figure)
        name = "worker memory, the workload with most"
        targets.append(Target(name, most, 80.0, 120.0, "less", "MiB"))
    return targets


def missing(summary: list[Figure]) -> list[str]:
    """Name the errors of those without whom a run says nothing."""
    needed = (OURS, LIMIT, AGAINST)
    return [f"{f.peer}, {f.workload}: {f.error}" for f in summary if f.error and f.peer in needed]


def table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table."""
    titles = list(head)
    lines = ["| " + " | ".join(cells) + " |" for cells in (titles, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(titles), *lines[1:]])


def peer_table(summary: list[Figure]) -> str:
    """Format one line for each workload, size and peer."""
    rows = []
    for figure in sorted(summary, key=lambda f: (f.workload, f.size)):
        size = f"{figure.n:,} for " if figure.n != figure.size else ""
        cells = [_cell(figure, key) for key in COLUMNS]
        if not figure.values:
            reason = (figure.error or "").strip().splitlines()[-1:] or ["no figure"]
            cells[0] = reason[0][:90].replace("|", "/")
        head = [figure.workload, f"{size}{figure.size:,}", figure.peer, str(figure.rounds)]
        rows.append([*head, *cells])
    return table(
        ["workload", "size", "peer", "rounds", *(title for title, _ in COLUMNS.values())], rows
    )


def target_table(targets: Iterable[Target]) -> str:
    """Format one line for each target."""
    rows = []
    for target in targets:
        sign = "≥" if target.better == "more" else "≤"
        ends = [_number(end) for end in asdict(target.spread).values()] if target.spread else []
        bounds = [
            "" if bound is None else f"{sign} {_number(bound)} {target.unit}".rstrip()
            for bound in (target.target, target.floor)
        ]
        figure = f"{ends[0]} {target.unit}".rstrip() if ends else "–"
        spread = " to ".join(ends[1:]) if len(set(ends[1:])) == 2 else ""
        rows.append([target.name, figure, spread, *bounds, target.verdict])
    return table(["", "ours", "spread", "target", "floor", ""], rows)


def against_table(rows: list[Row]) -> str:
    """Format our figures as multiples of the other checkout's: median, lowest and highest round."""
    lines = []
    for workload, size in dict.fromkeys((row["workload"], row["size"]) for row in rows):
        ours, theirs = (
            [r for r in rows if (r["workload"], r["size"], r["peer"]) == (workload, size, peer)]
            for peer in (OURS, AGAINST)
        )
        cells = []
        for key in MEASURES:
            values = ratios(ours, theirs, key)
            spread = Spread.of(values) if values else None
            cells.append(f"{spread.figure:.3f} ({_ends(spread, 3)})" if spread else "")
        lines.append([TITLES[workload].format(size), *cells])
    return table(["ours / the other's", *(COLUMNS[key][0] for key in MEASURES)], lines)


def _cell(figure: Figure, key: str) -> str:
    spread = figure.values.get(key)
    if spread is None or (figure.peer == LIMIT and key.endswith("_pgmq")):
        return ""
    digits = COLUMNS[key][1]
    digits = 3 if digits == 2 and spread.figure < 0.1 else digits
    middle = f"{spread.figure:,.{digits}f}"
    if figure.rounds == 1 or key not in ("tasks_per_s", "rate_x_pgmq", "hop_ms_p50"):
        return middle
    return f"{middle} ({_ends(spread, digits)})"


def _ends(spread: Spread, digits: int) -> str:
    return f"{spread.lowest:,.{digits}f}–{spread.highest:,.{digits}f}"


def _number(value: float) -> str:
    """Format three significant digits, thousands with a comma."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
