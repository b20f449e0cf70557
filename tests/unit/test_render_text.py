"""Values as people read them: one line where it fits, one unit where it says enough."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgflow_yaml.text import cells, clean, duration, fit, layout, one_line, roughly

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


@given(JSON)
def test_a_layout_is_still_the_same_json(value: object) -> None:
    """However it is broken into lines, it reads back as what it was."""
    assert json.loads(layout(value)) == value


def test_what_fits_stands_on_one_line() -> None:
    """A short list is a line, a long one has an item a line."""
    assert layout({"a": [1, 2, 3]}) == '{"a": [1, 2, 3]}'
    assert layout([list(range(20)), "x" * 60]).split("\n") == [
        "[",
        f"  {list(range(20))},",
        f'  "{"x" * 60}"',
        "]",
    ]


@given(st.text(), st.integers(0, 40))
def test_a_cut_text_fits(text: str, width: int) -> None:
    """Whatever the characters are, the columns are counted."""
    assert cells(fit(one_line(text), width)) <= max(width, 0)


@given(st.text(alphabet=st.characters() | st.sampled_from("\x1b[]8;\x07\x9bm")))
def test_cleaned_text_cannot_act(text: str) -> None:
    """S-18: no escape, no control character and no change of direction is left."""
    left = clean(text)

    assert not any(ord(char) < 32 and char != "\n" for char in left)
    assert not any(127 <= ord(char) < 160 for char in left)
    assert not set(left) & set("\u202e\u2066\u2028")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0.012, "12 ms"),
        (0.8, "0.8 s"),
        (59.94, "59.9 s"),
        (59.96, "1 m 00 s"),
        (125, "2 m 05 s"),
        (3720, "1 h 02 m"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_duration_is_short_and_exact_enough(seconds: float, text: str) -> None:
    """At most nine characters, whatever it is."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.03, "30 ms"),
        (0.3, "0.3 s"),
        (4.2, "4 s"),
        (89, "89 s"),
        (100, "2 min"),
        (7200, "2 h"),
    ],
)
def test_an_estimate_has_one_unit(seconds: float, text: str) -> None:
    """How long ago, or in how long: nobody needs the second one."""
    assert roughly(seconds) == text


@pytest.mark.parametrize("begin", ["##vso[task.setvariable]", "##teamcity[x]", "##[group]"])
def test_a_text_is_no_command_of_a_ci_service(begin: str) -> None:
    """Azure Pipelines and TeamCity read them anywhere in a line; a heading stays as it is."""
    spaced = begin.replace("[", " [")

    assert one_line(f"ValueError: x\n{begin}y") == f"ValueError: x {spaced}y"
    assert clean("## heading [1]") == "## heading [1]"
