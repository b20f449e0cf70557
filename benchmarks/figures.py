"""Medians over rounds with their spread, and each figure as a multiple of bare pgmq's."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any, Self

Row = dict[str, Any]

LIMIT = "pgmq"
RIVAL = "pgqueuer"
OURS = "pgflow_yaml"

MEASURES = ("tasks_per_s", "hop_ms_p50", "commits_per_task", "wal_bytes_per_task", "rss_mib")
RATIOS = {
    "rate_x_pgmq": ("tasks_per_s", LIMIT),
    "rate_x_pgqueuer": ("tasks_per_s", RIVAL),
    "hop_x_pgmq": ("hop_ms_p50", LIMIT),
    "wal_x_pgmq": ("wal_bytes_per_task", LIMIT),
}
"""A ratio is that of two figures of the same round: a machine that slows down changes nothing."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the two ends."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: list[float]) -> Self:
        """The spread of at least one value."""
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

    def as_row(self) -> Row:
        """The fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """The figure that `as_row` wrote."""
        values = {key: Spread(**value) for key, value in row["values"].items()}
        return cls(**{**row, "values": values})


def figures(rows: list[Row]) -> list[Figure]:
    """What the rounds come to: one figure for each workload, size and peer."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["workload"], row["size"], row["peer"]), []).append(row)
    found = []
    for (workload, size, peer), group in groups.items():
        good = [row for row in group if "error" not in row]
        error = next((str(row["error"]) for row in group if "error" in row), None)
        others = {name: groups.get((workload, size, name), []) for name in (LIMIT, RIVAL)}
        values = _values(good, others)
        n = group[0]["n"]
        found.append(Figure(workload, size, peer, n, len(good), values, error))
    return found


def find(found: list[Figure], peer: str, workload: str, size: int) -> Figure | None:
    """The figure of one peer on one workload, if it was measured."""
    key = (peer, workload, size)
    return next((f for f in found if (f.peer, f.workload, f.size) == key), None)


def _values(good: list[Row], others: dict[str, list[Row]]) -> dict[str, Spread]:
    values = {}
    for key in MEASURES:
        measured = [row[key] for row in good if row.get(key) is not None]
        if measured:
            values[key] = Spread.of(measured)
    for name, (key, other) in RATIOS.items():
        theirs = {row["round"]: row.get(key) for row in others[other]}
        pairs = [(row.get(key), theirs.get(row["round"])) for row in good]
        ratios = [mine / his for mine, his in pairs if mine is not None and his]
        if ratios:
            values[name] = Spread.of(ratios)
    return values


HEAD = {
    "tasks_per_s": "tasks/s",
    "rate_x_pgmq": "× pgmq",
    "rate_x_pgqueuer": "× PgQueuer",
    "hop_ms_p50": "hop, ms",
    "commits_per_task": "commits/task",
    "wal_bytes_per_task": "WAL, B/task",
    "wal_x_pgmq": "WAL × pgmq",
    "rss_mib": "memory, MiB",
}
DIGITS = {"tasks_per_s": 0, "wal_bytes_per_task": 0, "rss_mib": 0, "commits_per_task": 3}


def peer_table(found: list[Figure]) -> str:
    """One line for each workload, size and peer, as Markdown."""
    head = ["workload", "size", "peer", "rounds", *HEAD.values()]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for figure in sorted(found, key=lambda f: (f.workload, f.size)):
        cells = [figure.workload, f"{figure.size:,}"]
        if figure.n != figure.size:
            cells[1] = f"{figure.n:,} for {figure.size:,}"
        cells += [figure.peer, str(figure.rounds)]
        if not figure.values:
            reason = (figure.error or "").strip().splitlines()[-1:] or ["no figure"]
            cells += [reason[0][:90].replace("|", "/")] + [""] * (len(HEAD) - 1)
        else:
            cells += [_cell(figure, key) for key in HEAD]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figure: Figure, key: str) -> str:
    spread = figure.values.get(key)
    if spread is None or (figure.peer == LIMIT and key.endswith("_pgmq")):
        return ""
    digits = DIGITS.get(key, 2 if spread.median >= 0.1 else 3)
    middle = f"{spread.median:,.{digits}f}"
    if figure.rounds == 1 or key not in ("tasks_per_s", "rate_x_pgmq", "hop_ms_p50"):
        return middle
    return f"{middle} ({spread.lowest:,.{digits}f}–{spread.highest:,.{digits}f})"
