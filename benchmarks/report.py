"""Medians over rounds, and our figures as multiples of bare pgmq's, beside what is asked of us."""

from __future__ import annotations

import statistics
from typing import Any

Row = dict[str, Any]

PROTOTYPE = {
    ("fanout", 500): 1.16,
    ("fanout", 2000): 0.76,
    ("fanout", 8000): 0.86,
    ("diamonds", 500): 0.43,
    ("backlog", 5000): 0.35,
    ("backlog", 20000): 0.35,
}
"""Tasks a second of a prototype that does the same set by set, as a multiple of bare pgmq."""

PROTOTYPE_HOP = 1.5
"""The same for the time from one step of a chain to the next."""

SHARE = 3
"""Our floor is a third of the prototype's figure; a hop may take three times its."""

Group = tuple[str, int]


def table(rows: list[Row]) -> str:
    """One line for each workload, size and peer."""
    head = ["workload", "n", "peer", "tasks/s", "hop ms", "enqueue/s"]
    head += ["commits/task", "WAL B/task", "RSS MiB"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (workload, n), peers in _grouped(rows).items():
        for peer, good in peers.items():
            if not good:
                reason = next(str(r["error"]) for r in rows if r["peer"] == peer and "error" in r)
                lines.append(f"| {workload} | {n} | {peer} | {reason.splitlines()[-1][:90]} |")
                continue
            cells = [workload, str(n), peer, f"{_median(good, 'tasks_per_s'):,.0f}"]
            cells.append(f"{_median(good, 'hop_ms_p50'):.2f}" if workload == "chain" else "")
            rates = [row["tasks"] / row["enqueue_seconds"] for row in good]
            cells.append(f"{statistics.median(rates):,.0f}" if workload == "backlog" else "")
            cells += [f"{_median(good, 'commits_per_task'):.3f}"]
            cells += [f"{_median(good, key):,.0f}" for key in ("wal_bytes_per_task", "rss_mib")]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratios(rows: list[Row], *, ours: str, limit: str) -> list[Row]:
    """Ours as a multiple of the limit's, the median of the rounds' ratios, with its floor."""
    found: list[Row] = []
    for (workload, n), peers in _grouped(rows).items():
        if not peers.get(ours) or not peers.get(limit):
            continue
        key = "hop_ms_p50" if workload == "chain" else "tasks_per_s"
        rounds = {row["round"]: row[key] for row in peers[limit]}
        values = [row[key] / rounds[row["round"]] for row in peers[ours] if row["round"] in rounds]
        ratio = round(statistics.median(values), 3)
        found.append({"workload": workload, "n": n, "measure": key, "ratio": ratio})
        found[-1] |= {"lowest": round(min(values), 3), "highest": round(max(values), 3)}
        found[-1] |= _floor(workload, n, ratio)
    return found


def ratio_table(found: list[Row]) -> str:
    """The ratios in lines to read."""
    lines = ["| workload | n | ours / pgmq | rounds | asked |  |", "|---|---|---|---|---|---|"]
    for row in found:
        hop = row["measure"] == "hop_ms_p50"
        asked = f"{'at most' if hop else 'at least'} {row['floor']:.2f}" if row["floor"] else ""
        verdict = {True: "ok", False: "MISSED", None: ""}[row["met"]]
        what = "chain, hop time" if hop else f"{row['workload']}, tasks/s"
        spread = f"{row['lowest']:.2f} to {row['highest']:.2f}"
        lines.append(
            f"| {what} | {row['n']} | {row['ratio']:.2f} | {spread} | {asked} | {verdict} |"
        )
    return "\n".join(lines)


def _floor(workload: str, n: int, ratio: float) -> Row:
    if workload == "chain":
        floor = PROTOTYPE_HOP * SHARE
        return {"floor": floor, "met": ratio <= floor}
    best = PROTOTYPE.get((workload, n))
    if best is None:
        return {"floor": None, "met": None}
    return {"floor": round(best / SHARE, 3), "met": ratio >= best / SHARE}


def _grouped(rows: list[Row]) -> dict[Group, dict[str, list[Row]]]:
    """The good rows by workload and size, then by peer; a peer without any has an empty list."""
    groups: dict[Group, dict[str, list[Row]]] = {}
    for row in rows:
        peers = groups.setdefault((row["workload"], row["n"]), {})
        good = peers.setdefault(row["peer"], [])
        if "error" not in row:
            good.append(row)
    return groups


def _median(rows: list[Row], key: str) -> float:
    return float(statistics.median(row[key] for row in rows))
