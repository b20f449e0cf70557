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

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
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
