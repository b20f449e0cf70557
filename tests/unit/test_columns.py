"""The caret is under the exact characters, however YAML has them written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.effort import examples, patient
from tests.unit.flows import check

if TYPE_CHECKING:
    from pgflow_yaml.errors import Diagnostic

# What stands before and after an unknown name, in a template.
_TEXTS = st.text(
    st.sampled_from("ab \u00e9\u65e5\U0001f389'\"\\:#-|>%{}[]&*!,?\t"), max_size=12
).map(lambda text: text.replace("{{", "{ {"))
WRONG = "${{ input.zzz }}"
NAME = "input.zzz"


def only(text: str) -> Diagnostic:
    """The one finding of a flow."""
    (finding,) = (each for each in check(text).diagnostics if each.code == "PF207")
    return finding


def marked(text: str, finding: Diagnostic) -> str:
    """What stands under the caret."""
    span = finding.span
    assert span is not None
    assert span.line == span.end_line
    return text.split("\n")[span.line - 1][span.column - 1 : span.end_column - 1]


def double(text: str, escaped: set[int]) -> str:
    """Write a text in double quotes, some of its characters as escapes."""
    made = ""
    for at, character in enumerate(text):
        if at in escaped or character in '\\"\t':
            code = ord(character)
            made += f"\\x{code:02x}" if code < 256 else f"\\U{code:08x}"
        else:
            made += character
    return f'"{made}"'


@patient
@settings(max_examples=examples(150), deadline=None)
@given(_TEXTS, _TEXTS, st.sets(st.integers(0, 40)))
def test_in_double_quotes_with_any_escapes(before: str, after: str, escaped: set[int]) -> None:
    """The marked part is, once YAML has read it, the name itself."""
    whole = f"{before}{WRONG}{after}"
    text = f"flow: a\nsteps:\n  a: {{handler: x.a, with: {double(whole, escaped)}}}\n"

    under = marked(text, only(text))

    assert yaml.safe_load(f'"{under}"') == NAME


@patient
@settings(max_examples=examples(150), deadline=None)
@given(_TEXTS, _TEXTS)
def test_in_single_quotes(before: str, after: str) -> None:
    """A quote that is written twice counts as two columns."""
    quoted = f"{before}{WRONG}{after}".replace("'", "''").replace("\t", " ")
    text = f"flow: a\nsteps:\n  a: {{handler: x.a, with: '{quoted}'}}\n"

    assert marked(text, only(text)) == NAME


@patient
@settings(max_examples=examples(150), deadline=None)
@given(st.sampled_from(["|", "|-", "|+", ">", ">-", ">+"]), st.lists(_TEXTS, max_size=4), _TEXTS)
def test_in_a_block(style: str, lines: list[str], before: str) -> None:
    """Literal and folded, after lines of any content, with and without an indentation."""
    body = "".join(f"      {line}\n" if line.strip() else "\n" for line in lines)
    text = (
        f"flow: a\nsteps:\n  a:\n    handler: x.a\n    with: {style}\n"
        f"      first\n{body}      x{before}{WRONG} end\n  b: {{handler: x.b}}\n"
    )

    assert marked(text, only(text)) == NAME


def test_a_part_that_ends_with_a_quote_written_twice_is_marked_whole() -> None:
    """In single quotes the last quote of a text counts as two columns, too."""
    text = "flow: a\ninput: {n: {type: integer}}\nsteps:\n"
    text += "  a: {handler: x.a, if: '''x'' < input.n or input.n == ''x'''}\n"

    found = check(text).diagnostics

    assert [(each.message[:3], marked(text, each)) for each in found] == [
        ("`<`", "''x'' < input.n"),
        ("inp", "input.n == ''x''"),
    ]


@pytest.mark.parametrize(
    "written",
    [
        '"\\u0061 ${{ input.zzz }}"',
        '"\\N\\_\\L\\P ${{ input.zzz }}"',
        '"a\\\n      b ${{ input.zzz }}"',
        '"a\n\n\n      b ${{ input.zzz }}"',
        "'a\n\n      b ${{ input.zzz }}'",
        "a\n      b ${{ input.zzz }}",
        '"\\e\\a\\v\\/ ${{ input.zzz }}"',
        '"\\U0001f389${{ input.zzz }}"',
        "'it''s ''${{ input.zzz }}'''",
        "&anchor ${{ input.zzz }}",
        ">\n      a\n\n        b\n      ${{ input.zzz }}",
        "|2\n        ${{ input.zzz }}",
    ],
)
def test_in_every_way_to_write_a_text(written: str) -> None:
    """The corpus of escapes, foldings and indentations."""
    text = f"flow: a\nsteps:\n  a:\n    handler: x.a\n    with: {written}\n"

    assert marked(text, only(text)) == NAME
