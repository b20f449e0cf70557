"""The generated part of `docs/performance.md`: what the last `make bench-all` found."""

from __future__ import annotations

from typing import Any

from report import Figure, peer_table
from targets import Target, target_table

BEGIN = "<!-- figures: written by make bench-all, do not edit -->"
END = "<!-- end of the figures -->"


def generated(report: dict[str, Any]) -> str:
    """The figures of a report as Markdown."""
    machine = report["machine"]
    where = f"{machine['cores']} cores, PostgreSQL {machine['server_version']}"
    settings = ", ".join(f"{name} {machine[name]}" for name in ("fsync", "synchronous_commit"))
    head = f"Taken {report['at'][:10]}: {where} ({settings}), Python {machine['python']}, "
    rounds = f"{report['rounds']} interleaved round{'s' * (report['rounds'] != 1)}"
    head += f"{rounds}; medians, in brackets the lowest and the highest round."
    found = [Figure.from_row(row) for row in report["figures"]]
    parts = [head, "### Asked of us", target_table(targets_of(report)), "### Side by side"]
    parts += [peer_table(found), peers_text(report)]
    return "\n\n".join(parts)


def targets_of(report: dict[str, Any]) -> list[Target]:
    """The targets of a report, as they were measured."""
    targets = []
    for row in report["targets"]:
        facts = {key: value for key, value in row.items() if key != "verdict"}
        spread = facts["spread"]
        targets.append(Target(**{**facts, "spread": None if spread is None else tuple(spread)}))
    return targets


def peers_text(report: dict[str, Any]) -> str:
    """Which peers, in which versions, and which could not be had."""
    lines = [f"- {name}: {', '.join(versions)}" for name, versions in report["versions"].items()]
    lines += [f"- {name}: left out, {reason}" for name, reason in report["left_out"].items()]
    return "\n".join(lines)


def rewritten(page: str, text: str) -> str:
    """The page with another generated part."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page needs one line {BEGIN!r} and after it one line {END!r}")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
