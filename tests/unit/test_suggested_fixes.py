"""A fix that a finding offers as data works: written into the file, it ends the finding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.unit.flows import check
from tests.unit.test_examples import INVALID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pgflow_yaml.errors import Diagnostic, Replacement

ROUNDS = 6


def offset(text: str, line: int, column: int) -> int:
    """Return the index of a position."""
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\n|\r", text))]
    return starts[line - 1] + column - 1


def written(text: str, fixes: Sequence[Replacement]) -> str:
    """Return a text with its replacements; one inside of another waits for the next round."""
    spans = [
        (
            offset(text, fix.span.line, fix.span.column),
            offset(text, fix.span.end_line, fix.span.end_column),
            fix.text,
        )
        for fix in fixes
    ]
    begin = len(text)
    for start, end, new in sorted(spans, reverse=True):
        if end <= begin:
            text, begin = text[:start] + new + text[end:], start
    return text


def offered(text: str) -> list[Diagnostic]:
    """Return the findings of a text that have a replacement."""
    return [finding for finding in check(text).diagnostics if finding.replacement]


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_the_fixes_of_an_example_leave_no_finding_with_a_fix(path: Path) -> None:
    """All at once, they settle within a few rounds: none asks for what another forbids."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    before = len(check(text).diagnostics)
    for _ in range(ROUNDS):
        if not (findings := offered(text)):
            break
        text = written(text, [finding.replacement for finding in findings if finding.replacement])

    assert offered(text) == []
    assert len(check(text).diagnostics) <= before


def every_fix() -> list[tuple[str, Diagnostic]]:
    """Return each finding with a replacement, and the text that it is about."""
    texts = [path.read_bytes().decode("utf-8", errors="replace") for path in INVALID]
    return [(text, finding) for text in texts for finding in offered(text)]


def test_each_fix_alone_ends_its_finding_and_is_in_its_help() -> None:
    """The help shows what the data says, and writing it leaves the place without that finding."""
    fixes = every_fix()
    assert len(fixes) > 50
    for text, finding in fixes:
        assert finding.replacement is not None
        after = check(written(text, [finding.replacement])).diagnostics

        place = (finding.code, finding.message, finding.position)
        assert place not in {(f.code, f.message, f.position) for f in after}, finding
        core = finding.replacement.text.strip("' ")
        if finding.code == "PF026":  # in words: |- instead of |, or no white space
            continue
        shown = re.sub(r"^(?:write|did you mean) `?|[`?]$|, .*$", "", finding.help or "")
        assert core in f"{finding.message} {finding.help}" or shown in core, finding


def test_a_help_that_names_one_text_to_write_offers_it_as_data() -> None:
    """`write reserve` is a replacement; `write a list` or `write NAME` only describes one."""
    described = re.compile(
        r"write (a|an|one|your|the|when|it|this|or|until|map|if|60s|1|0|365d|NAME|package"
        r"|minLength|minimum|secrets\.NAME)\b"
    )
    missing = {
        finding.help
        for path in INVALID
        for finding in check(path.read_bytes().decode("utf-8", errors="replace")).diagnostics
        if finding.replacement is None
        and re.fullmatch(r"write `?[\w.@]+`?", finding.help or "")
        and not described.match(finding.help or "")
    }

    assert missing == set()


HELLO = "flow: hello\ninput: {name: {type: string}, rows: {type: array}}\nsteps:\n"
BROKEN = [
    "  a: {handler: app.a, with: {x: ${{ input.name }}}}",
    "  a: {handler: app.a, with: {x: to ${{ input.name }} now, y: 1}}",
    "  a: {handler: app.a, with: [1, ${{ input.name }}]}",
    '  a: {handler: app.a, with: {x: ${{ input.name + "\'s" }}}}',
    '  a:\n    handler: app.a\n    with: to ${{ {"a": 1} }} now # so',
    '  a:\n    handler: app.a\n    if: input.name == "a: b"',
    '  a:\n    handler: app.a\n    if: "x" == input.name',
    '  a: {handler: app.a, if: input.name in ["x"]}',
    "  a: {handler: app.a, if: !input.name}",
    "  a:\n    handler: app.a\n    if: !input.name and true",
    "  a: {handler: app.a, with: {1: 2}}",
    "  a:\N{NO-BREAK SPACE}{handler: app.a}",
    "  a\N{FULLWIDTH COLON} {handler: app.a}",
    "  a:\n    \N{IDEOGRAPHIC SPACE}handler: app.a",
    "  a:\n    handler\N{ZERO WIDTH SPACE}: app.a",
    "  a: {handler: app.a, with: [.inf]}",
    "  a: {handler: app.a, with: {x: {{ input.name }}}}",
    "  a:\n    handler: app.a\n    with: |\n      ${{ input.rows }}",
    "  a:\n    handler: app.a\n    with: >+\n      ${{ input.rows }}\n",
    "  a:\n    handler: app.a\n    with: |2\n      ${{ input.rows }}",
    '  a: {handler: app.a, with: [" ${{ input.rows }}", "${{ input.rows }}\\t"]}',
    "  a: {handler: app.a, with: [' ${{ default(input.name, \"it''s\") }}']}",
]


@pytest.mark.parametrize("steps", BROKEN)
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_the_fix_of_what_yaml_cannot_read_makes_the_file_valid(steps: str, line_break: str) -> None:
    """Whatever stands around the expression, in a block or in braces."""
    text = f"{HELLO}{steps}\n".replace("\n", line_break)
    fixes = [each.replacement for each in offered(text) if each.replacement]
    assert fixes

    assert check(written(text, fixes)).diagnostics == ()
