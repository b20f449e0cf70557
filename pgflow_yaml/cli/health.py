"""The report of `doctor` as lines of styled words."""

from __future__ import annotations

import shutil
from typing import IO, TYPE_CHECKING

from pgflow_yaml.text import one_line, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgflow_yaml.database.health import Check, Report

    Line = list[tuple[str, str]]

# The symbol in each set of characters, and the style.
_MARKS = {
    "ok": ("✓", "[ok]", "green"),
    "warning": ("!", "[!!]", "yellow"),
    "problem": ("✗", "[no]", "bold red"),
    "failed": ("?", "[??]", "bold red"),
}
_NAMES = 13


def lines(report: Report, fixed: Sequence[str], stream: IO[str]) -> Iterator[Line]:
    """Return the lines of a report, wrapped to the width of a terminal; a pipe has no width."""
    width = shutil.get_terminal_size().columns if stream.isatty() else 0
    return render(
        report, fixed, width=width, ascii_only=not _draws(getattr(stream, "encoding", None))
    )


def _draws(encoding: str | None) -> bool:
    try:
        "✓✗".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def render(
    report: Report, fixed: Sequence[str], *, width: int, ascii_only: bool = False
) -> Iterator[Line]:
    """Return the lines of a report for a width; 0 wraps nothing."""
    for text in fixed:
        yield from _block("fixed", text, "", width=width, indent=1)
    for check in report.checks:
        yield from _check(check, width=width, ascii_only=ascii_only)
    yield [(f" {report.summary}", "bold")]


def _check(check: Check, *, width: int, ascii_only: bool) -> Iterator[Line]:
    if not check.findings:
        yield from _row(check.status, check.check, check.sentence, width, ascii_only=ascii_only)
        return
    name = check.check
    for finding in check.findings:
        yield from _row(finding.severity, name, finding.message, width, ascii_only=ascii_only)
        name = ""
        if finding.fix:
            indent = _indent(ascii_only=ascii_only)
            yield from _block("fix:", finding.fix, "dim", width=width, indent=indent)


def _indent(*, ascii_only: bool) -> int:
    return len(_MARKS["ok"][ascii_only]) + _NAMES + 3


def _row(
    status: str, name: str, text: str, width: int, *, ascii_only: bool = False
) -> Iterator[Line]:
    mark, style = _MARKS[status][ascii_only], _MARKS[status][2]
    indent = _indent(ascii_only=ascii_only)
    first, *rest = wrapped(one_line(text), width and width - indent)
    yield [(f" {mark} ", style), (name.ljust(_NAMES), "bold"), (f" {first}", "")]
    yield from ([(" " * indent + line, "")] for line in rest)


def _block(head: str, text: str, style: str, *, width: int, indent: int) -> Iterator[Line]:
    """Return a text behind a word, its further lines below its first."""
    space = indent + len(head) + 1
    first, *rest = wrapped(one_line(text), width and width - space)
    yield [(f"{' ' * indent}{head} {first}", style)]
    yield from ([(" " * space + line, style)] for line in rest)
