"""Frames: the caret stands under the exact range, whatever surrounds it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgflow_yaml.errors import Diagnostic, Span
from pgflow_yaml.language.frames import render
from pgflow_yaml.text import cells, safe


def a_frame(line: str, word: str, *, width: int = 100, above: str = "", fix: str = "x") -> str:
    """Render a finding at `word` in `line`."""
    number = above.count("\n") + 1
    column = line.index(word) + 1
    span = Span(line=number, column=column, end_line=number, end_column=column + len(word))
    finding = Diagnostic(code="PF203", message="it is wrong", span=span, help=fix, label="here")
    return render(finding, file="a.yaml", source=above + line + "\nnext: line\n", width=width)


def test_a_frame_has_head_line_caret_label_and_help() -> None:
    """The whole picture, character by character."""
    assert a_frame("      amount: quote", "quote", above="x: 1\n    with:\n") == (
        "a.yaml:3:15: error[PF203]: it is wrong\n"
        "  │\n"
        "2 │     with:\n"
        "3 │       amount: quote\n"
        "  │               ^^^^^ here\n"
        "  │\n"
        "  = help: x"
    )


def test_lines_that_the_fix_speaks_of_are_shown() -> None:
    """A fix about a line nearby needs no scrolling."""
    shown = a_frame("    b: x", "x", above="  a:\n    d: [c]\n    w:\n", fix="change line 2")

    assert "2 │     d: [c]\n3 │     w:\n4 │     b: x\n" in shown
    assert "1 │" not in shown


def test_a_finding_without_a_place_is_one_line_and_its_fix() -> None:
    """A finding about the whole file has no picture."""
    finding = Diagnostic(code="PF101", message="no file", span=None, help="write one")

    assert render(finding, file="a.yaml", source="") == (
        "a.yaml: error[PF101]: no file\n   = help: write one"
    )


def test_a_warning_says_so() -> None:
    """The severity stands before the code."""
    span = Span(line=1, column=1, end_line=1, end_column=2)
    finding = Diagnostic(code="PF022", message="m", span=span, severity="warning")

    shown = render(finding, file="a.yaml", source="a")

    assert shown == "a.yaml:1:1: warning[PF022]: m\n  │\n1 │ a\n  │ ^"


@pytest.mark.parametrize(
    ("before", "word"),
    [
        ("größe: ", "word"),
        ("日本語: ", "word"),
        ("🎉🎉: ", "wörd"),
        ("\ta:\t", "word"),
        ("e\u0301: ", "word"),
        ("a: ", "日本"),
        ("a: ", "🎉"),
        ("", "w"),
    ],
)
def test_the_caret_stands_under_wide_and_narrow_characters(before: str, word: str) -> None:
    """Tabs, umlauts, CJK, emoji and combining marks take the cells that a terminal gives them."""
    lines = a_frame(f"{before}{word} after", word).split("\n")

    caret = lines[-3]
    shown = lines[-4]
    start = caret.index("^")
    assert cells(shown[: shown.index(word)]) == start
    assert caret.count("^") == cells(word)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("abc", 3), ("ä", 1), ("e\u0301", 1), ("日本", 4), ("🎉", 2), ("a\u200bb", 2), ("", 0)],
)
def test_a_text_takes_the_cells_that_a_terminal_gives_it(text: str, expected: int) -> None:
    """Marks that join another character take none, wide characters two."""
    assert cells(text) == expected


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("at", [0, 50, 150, 395])
def test_a_long_line_is_cut_around_the_caret(width: int, at: int) -> None:
    """The marked word stays visible, and no line is wider than asked."""
    line = "日" * at + "WORD" + "x" * (400 - at)

    lines = a_frame(line, "WORD", width=width).split("\n")

    shown, caret = lines[-4], lines[-3]
    assert cells(shown) <= width
    assert "WORD" in shown
    assert "…" in shown
    assert cells(shown[: shown.index("WORD")]) == caret.index("^")


def test_a_marked_part_longer_than_the_line_is_cut_too() -> None:
    """A very long text does not fill the screen."""
    lines = a_frame("a: " + "x" * 500, "x" * 500, width=60).split("\n")

    assert all(cells(line) <= 60 + len(" here") for line in lines)


def test_what_a_terminal_would_act_on_is_replaced() -> None:
    """A file cannot colour, ring or turn around the reader's terminal (S-18)."""
    shown = a_frame("a: \x1b[31m\u202eword\x07", "word")

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    assert safe("a\nb") == "a\ufffdb"


def test_a_range_over_several_lines_is_marked_on_its_first() -> None:
    """The caret runs to the end of the first line."""
    span = Span(line=1, column=4, end_line=2, end_column=3)
    finding = Diagnostic(code="PF203", message="m", span=span)

    assert render(finding, file="a", source="a: [b,\n  c]\n").endswith("1 │ a: [b,\n  │    ^^^")


@given(st.text(max_size=80), st.integers(0, 90), st.integers(0, 90), st.integers(1, 120))
def test_any_finding_in_any_text_can_be_drawn(text: str, start: int, end: int, width: int) -> None:
    """Drawing never fails, and there is always a caret."""
    span = Span(line=1, column=start + 1, end_line=1, end_column=end + 1)
    finding = Diagnostic(code="PF203", message=text, span=span, help=text or None, label=text)

    assert "^" in render(finding, file="a", source=text, width=width)


def test_a_frame_of_ascii_costs_no_tables_of_widths() -> None:
    """`validate` starts fast: rich is imported for other characters only."""
    program = (
        "import sys; from pgflow_yaml.errors import Diagnostic, Span;"
        "from pgflow_yaml.language.frames import render;"
        "span = Span(line=1, column=1, end_line=1, end_column=2);"
        "finding = Diagnostic(code='PF203', message='m', span=span, help='h', label='l');"
        "render(finding, file='a', source='a: ' + 'b' * 300, width=80);"
        "sys.exit('rich' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
