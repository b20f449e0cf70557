"""JSON is read as strictly as flow files are, and what is wrong has its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgflow_yaml.language.json_text import NotJson, read_json

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

# Python writes doubles from 1e16 on with an exponent; they are read as integers, exactly.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(min_value=-1e16, max_value=1e16, exclude_min=True, exclude_max=True)
)
VALUES: st.SearchStrategy[Json] = st.recursive(
    SCALARS | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(VALUES)
def test_what_json_says_is_read_as_python_reads_it(value: Any) -> None:
    """Strictness takes nothing away: each value that has a text comes back."""
    assert read_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ('{"a": 3, "a": 4}', 'the key "a" stands twice in its object', '"a"@9'),
        ('[{"b": {"a": [1, "a"], "a": 4}}]', 'the key "a" stands twice in its object', '"a"@23'),
        (r'{"a": 3, "\u0061": 4}', r'the key "\u0061" stands twice in its object', r'"\u0061"@9'),
        ('{"a": ["x", "x"], "x": "a", "x": 1}', 'the key "x" stands twice in its object', '"x"@28'),
        ('{"o": 1e400}', "1e400 is too large for a double", "1e400@6"),
        ("[-1e400]", "-1e400 is too large for a double", "-1e400@1"),
        ('["NaN", NaN]', "NaN is not a number in JSON", "NaN@8"),
        ("-Infinity", "-Infinity is not a number in JSON", "-Infinity@0"),
        ("[" + "1" * 5000 + "]", "a number of 5000 digits is too long", "1" * 5000 + "@1"),
        ('{"a": }', "expecting value", "}@6"),
        ("[" * 100_000, "it is nested too deeply", "@0"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_would_be_changed_in_reading_is_refused(text: str, message: str, marked: str) -> None:
    """Nothing is dropped or rounded to infinity in silence; the place is that of the culprit."""
    with pytest.raises(NotJson) as caught:
        read_json(text)

    error = caught.value
    assert str(error) == message
    assert f"{text[error.start : error.end]}@{error.start}" == marked


def test_equal_keys_of_different_objects_are_no_mistake() -> None:
    """Siblings and children have their own keys; a text may look like a key."""
    text = '[{"a": {"a": "a"}}, {"a": 1, "b": ["a", "a"]}]'

    assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000),
        ("1.5E+1", 15),
        ("1e23", 10**23),
        ("9007199254740993.0", 2**53 + 1),
        ("-9007199254740993e0", -(2**53) - 1),
    ],
)
def test_a_whole_number_is_an_exact_integer(text: str, value: int) -> None:
    """As PostgreSQL reads it: a double would change the large ones."""
    number = read_json(text)

    assert (type(number), number) == (int, value)


@pytest.mark.parametrize("text", ["1.0", "0.0", "0e5", "2.50", "9007199254740992.0", "1e-3"])
def test_a_number_with_a_fraction_stays_a_double(text: str) -> None:
    """Its text says that it is one; no field asks for an integer here."""
    number = read_json(text)

    assert (type(number), number) == (float, float(text))


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("12345678901234567.5", "12345678901234568"),
        ("0.99999999999999999999", "1"),
        ("1e-400", "0"),
        ("1e-99999999999999999999999", "0"),
    ],
)
def test_a_fraction_that_a_double_makes_whole_is_refused(text: str, whole: str) -> None:
    """An integer field would take the rounded number in silence."""
    with pytest.raises(NotJson) as caught:
        read_json(f'{{"n": {text}}}')

    assert str(caught.value) == f"{text} would be rounded to the whole number {whole}"
    assert (caught.value.start, caught.value.end) == (6, 6 + len(text))
