"""Run inputs: defaults, every problem with its path, and `name=value` pairs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from pgflow_yaml.language.inputs import apply_defaults_and_check, check_value, from_pairs

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

SPEC: dict[str, Any] = {
    "order_id": {"type": "integer", "minimum": 1},
    "plan": {"enum": ["free", "premium"], "default": "free"},
}


def problems_of(schema: Any, value: Any) -> list[str]:
    """Return the problems of one field as `path: message`."""
    return [f"{p['path']}: {p['message']}" for p in check_value(schema, value, path="x")]


def test_defaults_are_put_in_and_given_values_kept() -> None:
    """A field with a default may be left out."""
    assert apply_defaults_and_check(SPEC, {"order_id": 7}) == ({"order_id": 7, "plan": "free"}, [])
    filled, problems = apply_defaults_and_check(SPEC, {"order_id": 7, "plan": "premium"})
    assert (filled, problems) == ({"order_id": 7, "plan": "premium"}, [])


def test_every_problem_is_named_at_once() -> None:
    """Unknown, missing and wrong fields come together, the unknown ones with a suggestion."""
    _, problems = apply_defaults_and_check(SPEC, {"ordr_id": 7, "plan": "premum"})

    assert [(problem["path"], problem["message"]) for problem in problems] == [
        ("ordr_id", 'is not an input of this flow; did you mean "order_id"?'),
        ("order_id", "is required (integer)"),
        ("plan", 'must be one of ["free", "premium"]; did you mean "premium"?'),
    ]


def test_a_flow_without_input_takes_only_an_empty_object() -> None:
    """No `input` means no field."""
    assert apply_defaults_and_check(None, {}) == ({}, [])
    _, problems = apply_defaults_and_check(None, {"a": 1})
    assert problems == [{"path": "a", "message": "is not an input of this flow, which takes none"}]


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_an_input_that_is_no_object_is_refused(value: Any) -> None:
    """The run input is an object."""
    _, problems = apply_defaults_and_check(SPEC, value)

    assert [problem["path"] for problem in problems] == [""]
    assert problems[0]["message"].startswith("must be an object, not ")


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"type": "integer"}, 1.0, None),
        ({"type": "integer"}, 1.5, "x: must be integer, not the number 1.5"),
        ({"type": "integer"}, True, "x: must be integer, not the boolean true"),
        ({"type": "boolean"}, 1, "x: must be boolean, not the number 1"),
        ({"type": ["string", "null"]}, None, None),
        ({"type": ["string", "null"]}, 3, "x: must be string or null, not the number 3"),
        ({"enum": [1, "a"]}, True, 'x: must be one of [1, "a"]'),
        ({"const": 1}, 1.0, None),
        ({"const": 1}, 2, "x: must be 1"),
        ({"minimum": 3}, 2, "x: must be at least 3"),
        ({"maximum": 3}, 4, "x: must be at most 3"),
        ({"exclusiveMinimum": 3}, 3, "x: must be more than 3"),
        ({"exclusiveMaximum": 3}, 3, "x: must be less than 3"),
        ({"minimum": 3}, "a", None),
        ({"minLength": 2}, "ä", "x: must have at least 2 characters"),
        ({"maxLength": 1}, "ab", "x: must have at most 1 characters"),
        ({"minItems": 1}, [], "x: must have at least 1 items"),
        ({"maxItems": 1}, [1, 2], "x: must have at most 1 items"),
        ({"items": {"type": "string"}}, ["a", 1], "x[1]: must be string, not the number 1"),
        (
            {"properties": {"a": {"properties": {"b": {"minimum": 2}}}}},
            {"a": {"b": 1}},
            "x.a.b: must be at least 2",
        ),
        ({"required": ["a", "b"]}, {"a": 1}, 'x: needs "b"'),
        (
            {"properties": {"name": {}}, "additionalProperties": False},
            {"nam": 1},
            'x: has no key "nam"; did you mean "name"?',
        ),
        ({"uniqueItems": True}, [1, 1], "x: must not have the same item twice"),
        ({"multipleOf": 3}, 4, "x: must be a multiple of 3"),
        ({"type": "integer"}, float("inf"), "x: is Infinity, which is not a number in JSON"),
        ({"multipleOf": 0.1}, 0.3, None),
        ({"multipleOf": 0.1}, 0.35, "x: must be a multiple of 0.1"),
        ({"multipleOf": 0.01}, 4.35, None),
        ({"multipleOf": 1e-7}, 1e300, None),
        ({"multipleOf": 0.1}, 10**400, None),
        ({"multipleOf": 0.5}, "a", None),
        ({"items": {"multipleOf": 0.1}}, [0.3, 0.25], "x[1]: must be a multiple of 0.1"),
        ({"minProperties": 1}, {}, "x: must have at least 1 keys"),
        ({"maxProperties": 0}, {"a": 1}, "x: must have at most 0 keys"),
        ({"properties": {"a": False}}, {"a": 1}, "x: may not hold 1"),
        (True, "anything", None),
    ],
)
def test_a_value_is_held_against_its_field(schema: Any, value: Any, problem: str | None) -> None:
    """Each keyword has its sentence, and the path leads to the part that is wrong."""
    assert problems_of(schema, value) == ([] if problem is None else [problem])


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner)
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "null"])
SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "minimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "minLength": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "items": st.fixed_dictionaries({"type": TYPES}),
    },
)


@given(SCHEMAS, VALUES)
def test_our_verdict_is_that_of_json_schema(schema: dict[str, Any], value: Any) -> None:
    """Only the sentences are ours: what is allowed is what draft 7 allows."""
    assert (check_value(schema, value, path="x") == []) == Draft7Validator(schema).is_valid(value)


def test_pairs_are_read_by_the_types_of_their_fields() -> None:
    """A digit is a text where the field is one, and JSON where the field is an object."""
    spec: dict[str, Any] = {
        "id": {"type": "integer"},
        "name": {"type": "string"},
        "flag": {"type": "boolean"},
        "tags": {"type": "array"},
        "plan": {"enum": [1, "two"]},
        "maybe": {"type": ["null", "string"]},
        "free": {},
    }

    value, problems = from_pairs(
        spec,
        ["id=7", "name=7", "flag=true", 'tags=["a"]', "plan=1", "maybe=null", "free=x=y", "new=3"],
    )

    assert problems == []
    assert value == {
        "id": 7,
        "name": "7",
        "flag": True,
        "tags": ["a"],
        "plan": 1,
        "maybe": None,
        "free": "x=y",
        "new": 3,
    }


def test_a_pair_that_is_none_is_named() -> None:
    """Each argument that cannot be used is a problem of its own."""
    value, problems = from_pairs(SPEC, ["order_id=x", "plan", "=1", "order_id=2"])

    assert value == {"order_id": "x"}
    assert [problem["path"] for problem in problems] == ["plan", "=1", "order_id"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1e400", "cannot be taken: 1e400 is too large for a double"),
        ("NaN", "cannot be taken: NaN is not a number in JSON"),
        ('{"a": 3, "a": 4}', 'cannot be taken: the key "a" stands twice in its object'),
    ],
)
def test_a_pair_that_would_be_changed_in_reading_is_refused(text: str, message: str) -> None:
    """A field that takes no text must not lose a part of what is given."""
    spec: dict[str, Any] = {"x": {"type": ["number", "object"]}, "text": {"type": "string"}}

    assert from_pairs(spec, [f"x={text}"]) == ({}, [{"path": "x", "message": message}])
    assert from_pairs(spec, [f"text={text}"]) == ({"text": text}, [])


@given(st.text(max_size=20))
def test_reading_a_pair_never_fails(text: str) -> None:
    """Any text is read as some value or named as a problem."""
    from_pairs({"a": {"type": "object"}, "b": {}}, [text, f"a={text}", f"b={text}"])


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, True, "1", [1], [True], {"a": 1}, {"a": True}, None, 0, False, ""], True),
        ([1, 1.0], False),
        ([{"a": [1], "b": 2}, {"b": 2, "a": [1.0]}], False),
        ([*range(100_000)], True),
        ([[n] for n in [*range(50_000), 7]], False),
    ],
    ids=["kinds", "numbers", "objects", "many", "many_and_one"],
)
def test_unique_items_are_found_in_one_walk(items: list[Json], *, unique: bool) -> None:
    """A hundred thousand items take a moment, not minutes."""
    started = time.thread_time()
    problems = check_value({"type": "array", "uniqueItems": True}, items, path="a")
    assert time.thread_time() - started < 3
    assert [problem["message"] for problem in problems] == (
        [] if unique else ["must not have the same item twice"]
    )


@pytest.mark.parametrize("target", ["#", "http://127.0.0.1:9/schema.json", "#/nowhere"])
def test_a_reference_in_a_stored_schema_is_a_problem(target: str) -> None:
    """A definition may come from elsewhere: no recursion, no request."""
    assert problems_of({"type": "array", "items": {"$ref": target}}, [[]]) == [
        "x[0]: cannot be checked: its schema has a $ref, which is not supported"
    ]
