"""The JSON Schema: valid, described, equal to the model, and read by us as jsonschema reads it."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from referencing import Registry

from pgflow_yaml.language import compiler, model, source, vocabulary
from pgflow_yaml.language.durations import milliseconds
from pgflow_yaml.language.inputs import DEEP_KEYWORDS
from pgflow_yaml.language.validation.findings import Report
from pgflow_yaml.language.validation.shape import Shape
from tests.unit.flows import ROOT, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFINITIONS = SCHEMA["definitions"]


def without_one_of(schema: Any) -> Any:
    """The schema without `oneOf`, which is for editors: our own sentences count the actions."""
    if isinstance(schema, list):
        return [without_one_of(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: without_one_of(value) for key, value in schema.items() if key != "oneOf"}


LIBRARY = Draft7Validator(without_one_of(SCHEMA), registry=Registry())


def subschemas(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walk every schema within a schema."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for key in ("properties", "definitions", "patternProperties"):
        for name, inner in schema.get(key, {}).items():
            yield from subschemas(inner, f"{path}/{key}/{name}")


def our_verdict(data: Any) -> bool:
    """Walk the data with our own reading of the schema."""
    document = source.parse(json.dumps(data))
    assert document.root is not None
    return Shape(SCHEMA, Report(document)).check(document.root, SCHEMA, ())


def test_the_schema_is_draft_7() -> None:
    """Every editor with a YAML language server can use it."""
    Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        (model.Flow, SCHEMA["properties"]),
        (model.Step, DEFINITIONS["step"]["properties"]),
        (model.Retry, DEFINITIONS["retry"]["properties"]),
        (model.Wait, DEFINITIONS["wait"]["properties"]),
        (model.Repeat, DEFINITIONS["repeat"]["properties"]),
        (model.Defaults, SCHEMA["properties"]["defaults"]["properties"]),
    ],
    ids=["flow", "step", "retry", "wait", "repeat", "defaults"],
)
def test_the_keys_of_the_schema_are_the_fields_of_the_model(
    kind: Any, properties: dict[str, Any]
) -> None:
    """A key that only one of them has fails here."""
    assert {field.name.rstrip("_") for field in fields(kind)} == set(properties)


def test_every_key_is_described_and_shows_a_default_or_an_example() -> None:
    """An editor can say what a key is for."""
    for path, schema in subschemas(SCHEMA):
        if "/properties/" in path and "$ref" not in schema:
            assert schema.get("description"), path


def test_no_step_key_hides_behind_one_of() -> None:
    """An editor names the key that is wrong, not a list of branches: a branch only asks for a key.

    The keys of a step that are its action, of which it has exactly one, and those of a wait.
    """
    branches = {path: schema["oneOf"] for path, schema in subschemas(SCHEMA) if "oneOf" in schema}

    assert branches == {
        "/definitions/step": [{"required": [key]} for key in model.ACTIONS],
        "/definitions/wait": [{"required": [key]} for key in ("for", "until", "event")],
    }
    assert "anyOf" not in json.dumps(SCHEMA)


@pytest.mark.parametrize(
    ("step", "valid"),
    [
        ({"handler": "a.b"}, True),
        ({"with": {}}, False),
        ({"handler": "a.b", "flow": "b"}, False),
        ({"wait": {"for": "1m"}}, True),
        ({"wait": {"timeout": "1m"}}, False),
        ({"wait": {"for": "1m", "event": "b"}}, False),
    ],
)
def test_a_step_has_exactly_one_action(step: dict[str, Any], valid: bool) -> None:  # noqa: FBT001
    """By the schema alone, so that every editor underlines it."""
    assert Draft7Validator(SCHEMA).is_valid({"flow": "a", "steps": {"s": step}}) == valid


def filled(snippet: Any) -> Any:
    """Fill the placeholders of a snippet with their suggestions."""
    return json.loads(re.sub(r"\$\{\d+:([^}]*)\}", r"\1", json.dumps(snippet)))


SNIPPETS = [
    (path, snippet)
    for path, schema in subschemas(SCHEMA)
    for snippet in schema.get("defaultSnippets", ())
]


@pytest.mark.parametrize(
    ("path", "snippet"), SNIPPETS, ids=[entry["label"] for _, entry in SNIPPETS]
)
def test_what_an_editor_inserts_has_the_shape(path: str, snippet: dict[str, Any]) -> None:
    """A snippet, taken as it is offered, is right."""
    body = filled(snippet["body"])
    key = path.rpartition("/")[2]
    step = {"wait": body} if key == "wait" else {"handler": "a.b", key: body}
    flow: dict[str, Any] = {"flow": "a", "steps": {"s": step}}
    if path.startswith("/properties"):
        flow = {"flow": "a", "steps": {"s": {"handler": "a.b"}}, key: body}

    assert LIBRARY.is_valid(flow)
    assert our_verdict(flow)


def test_the_defaults_that_an_editor_shows_are_those_of_the_compiler() -> None:
    """One truth for what is not written."""
    retry = {
        key: schema["default"]
        for key, schema in DEFINITIONS["retry"]["properties"].items()
        if "default" in schema
    }
    for key in ("base_delay", "max_delay"):
        retry[key] = milliseconds(retry[key])

    assert model.Retry(**retry) == compiler.DEFAULT_RETRY
    assert milliseconds(DEFINITIONS["attemptTimeout"]["default"]) == compiler.DEFAULT_TIMEOUT
    repeat = DEFINITIONS["repeat"]["properties"]
    assert milliseconds(repeat["every"]["default"]) == model.DEFAULT_EVERY
    assert repeat["max"]["default"] == model.DEFAULT_ROUNDS


def test_keys_of_later_releases_are_not_in_the_schema() -> None:
    """Each key either works or is refused by name."""
    assert not set(vocabulary.later_keys("flow")) & set(SCHEMA["properties"])
    assert not set(vocabulary.later_keys("step")) & set(DEFINITIONS["step"]["properties"])


def test_every_keyword_of_a_field_is_checked_by_somebody() -> None:
    """A keyword is for people, checked by both sides, or a deep one that the client checks."""
    top = {"type", "enum", "const", "default", "minimum", "maximum", "exclusiveMinimum"}
    top |= {"exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems"}
    people = {"description", "title", "examples"}

    assert set(DEFINITIONS["fieldSchema"]["properties"]) == top | people | DEEP_KEYWORDS


def test_the_pages_of_the_schema_are_shipped_as_they_stand() -> None:
    """The package's schema is this file."""
    shipped = ROOT / "pgflow_yaml" / "schemas" / "workflow.schema.json"

    assert json.loads(shipped.read_text()) == SCHEMA


FULL: dict[str, Any] = {
    "flow": "a",
    "description": "d",
    "x-a": [1],
    "input": {
        "n": {"type": "integer", "minimum": 1, "default": 1},
        "o": {
            "type": ["object", "null"],
            "properties": {"k": {"enum": [1]}},
            "required": ["k"],
            "additionalProperties": False,
        },
        "l": {"items": True, "uniqueItems": True, "minItems": 0, "multipleOf": 2},
    },
    "labels": {"team": "ml"},
    "input_schema": {"type": "array", "items": {"type": "string"}},
    "output": {"k": ["${{ input }}"]},
    "timeout": "1h",
    "fail_fast": False,
    "defaults": {"retry": 3, "timeout": "30s", "queue": "q"},
    "finally": {"z": {"handler": "b.c", "depends_on": []}},
    "steps": {
        "a": {
            "handler": "b.c",
            "depends_on": ["b"],
            "with": {"k": [1, None]},
            "if": "true",
            "when_unmet": "fail",
            "map": [1],
            "retry": {
                "max_attempts": 2,
                "base_delay": 1,
                "backoff": "fixed",
                "jitter": True,
                "if": "error",
            },
            "timeout": 5,
            "max_parallel": 3,
            "fail_fast": False,
            "tolerate": "5%",
            "repeat": {"until": "output", "every": 1, "max": None},
            "queue": "q",
            "start_delay": 0,
            "when_exhausted": "skip",
            "description": "",
        },
        "b": {"handler": "b.c", "initial_tasks": 3, "map": "x", "if": False},
        "c": {"flow": "other@0123456789ab", "depends_on": {"a": "any"}, "tolerate": 3},
        "d": {"wait": {"for": "x", "until": 5, "event": "e.f", "timeout": "3d"}},
    },
}
STRANGE: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    1.0,
    -1,
    0.5,
    10**9,
    "",
    "a",
    "a.b",
    "a__b",
    "30s",
    "3 s",
    "input",
    "skip",
    "integer",
    "any",
    "101%",
    "100.0%",
    "other@0123456789ab",
    [],
    ["a"],
    ["a", "a"],
    ["integer"],
    [1],
    {},
    {"a": 1},
    {"type": "integr"},
    {"max_attempts": 0},
    {"handler": "x"},
    {"timeout": 0},
]


def paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List every path in the data."""
    yield path
    if isinstance(data, dict):
        for key in data:
            yield from paths(data[key], (*path, key))
    if isinstance(data, list):
        for index in range(len(data)):
            yield from paths(data[index], (*path, index))


PATHS = [path for path in paths(FULL) if path]


def changed(path: tuple[Any, ...], value: Any) -> Any:
    """Return the full flow with one value changed."""
    data = copy.deepcopy(FULL)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return data


def test_a_flow_with_every_key_has_the_shape() -> None:
    """The starting point of the comparisons below is valid."""
    assert LIBRARY.is_valid(FULL)
    assert our_verdict(FULL)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_our_walk_and_the_library_agree_on_every_changed_place(path: tuple[Any, ...]) -> None:
    """The schema is the one source of the shape: nothing is stricter or laxer in our reading."""
    for value in STRANGE:
        data = changed(path, value)
        assert our_verdict(data) == LIBRARY.is_valid(data), (path, value)


KEYS = st.sampled_from(
    ["flow", "steps", "a", "input", "handler", "retry", "x-y", "type", "with", "a-b", "jitter", ""]
)
SOME = st.recursive(
    st.sampled_from([v for v in STRANGE if not isinstance(v, list | dict)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.sampled_from(PATHS), SOME, KEYS)
def test_our_walk_and_the_library_agree_on_random_changes(
    path: tuple[Any, ...], value: Any, key: str
) -> None:
    """Also with new keys and nested values at any path."""
    data = changed(path, value)
    inner = data
    for part in path[:-1]:
        inner = inner[part]
    if isinstance(inner, dict) and isinstance(value, dict):
        inner[key] = value

    assert our_verdict(data) == LIBRARY.is_valid(data)


def test_nodes_give_back_the_data_they_were_read_from() -> None:
    """The tree holds the same values as the text."""
    document = source.parse(json.dumps(FULL))

    assert document.root is not None
    assert document.root.data() == FULL
