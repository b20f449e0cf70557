"""The report of `doctor` as people read it, at every width."""

from __future__ import annotations

import pytest

from pgflow_yaml.cli.health import render
from pgflow_yaml.database.health.findings import Check, Finding, Report
from pgflow_yaml.text import cells

PROBLEM = Finding(
    message='no worker has "shop.notify.slack", for which 3 tasks of order have waited for 14 min',
    fix="start a worker with its module (pgflow-yaml worker --app-dir DIR), or pgflow-yaml cancel",
)
WARNING = Finding(severity="warning", message="pgmq.q_order has 12,000 dead rows (41%)")
REPORT = Report(
    checks=(
        Check(check="versions", status="ok", summary="PostgreSQL 18.6, schema current"),
        Check(check="handlers", status="problem", summary="", findings=(PROBLEM, WARNING)),
        Check(check="size", status="failed", summary="no answer within 5 s"),
    ),
    usable=True,
)


def lines(width: int, *, ascii_only: bool = False) -> list[str]:
    """The text of the report."""
    fixed = ["swept the live runs: 2 repairs"]
    rendered = render(REPORT, fixed, width=width, ascii_only=ascii_only)
    return ["".join(words for words, _ in line).rstrip() for line in rendered]


def test_each_finding_is_a_row_with_its_remedy_below() -> None:
    """A pipe gets whole lines."""
    assert lines(0) == [
        " fixed swept the live runs: 2 repairs",
        " ✓ versions      PostgreSQL 18.6, schema current",
        f" ✗ handlers      {PROBLEM.message}",
        f"                 fix: {PROBLEM.fix}",
        f" !               {WARNING.message}",
        " ? size          not checked: no answer within 5 s",
        " 1 check passed, 1 problem, 1 warning, 1 not made",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    """Texts go on below their beginning, and no word is lost."""
    drawn = lines(width)

    assert max(map(cells, drawn)) <= width
    assert " ".join(" ".join(drawn).split()) == " ".join(" ".join(lines(0)).split())
    assert all(line[1] in "✓!✗?" or line.startswith(" " * 17) for line in drawn[1:-1])


def test_a_plain_terminal_gets_plain_marks() -> None:
    """Four characters for each."""
    drawn = lines(0, ascii_only=True)

    assert drawn[1].startswith(" [ok] versions      ")
    assert drawn[2].startswith(" [no] handlers      ")
    assert all(line.isascii() for line in drawn)


def test_a_report_is_as_bad_as_its_worst_check() -> None:
    """A check that was not made counts as a problem."""
    by_name = {check.check: check for check in REPORT.checks}

    def status(*names: str) -> str:
        return Report(checks=tuple(by_name[name] for name in names), usable=True).status

    warned = Check(check="w", status="warning", summary="", findings=(WARNING,))
    assert status("versions") == "ok"
    assert Report(checks=(by_name["versions"], warned), usable=True).status == "warning"
    assert status("versions", "handlers") == status("size") == "problem"
