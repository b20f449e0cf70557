"""Whole numbers that were written with a fraction of zero: 1000.0 in an integer field is 1000."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.inputs import types_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json


def whole_input(definition: Mapping[str, Any], value: Json) -> Json:
    """Return the input of a run with an integer in each integer field; it must be valid."""
    if "input_schema" in definition:
        return whole(definition["input_schema"], value)
    return whole({"properties": definition.get("input") or {}}, value)


def whole(schema: Json, value: Json) -> Json:
    """Return a value with an integer at each place where its schema takes no other number."""
    if not isinstance(schema, dict):
        return value
    if isinstance(value, float):
        types = types_of(schema)
        whole_only = "integer" in types and "number" not in types
        return int(value) if whole_only and value.is_integer() else value
    if isinstance(value, list) and "items" in schema:
        return [whole(schema["items"], item) for item in value]
    if isinstance(value, dict):
        fields, others = schema.get("properties"), schema.get("additionalProperties")
        known = fields if isinstance(fields, dict) else {}
        return {name: whole(known.get(name, others), inner) for name, inner in value.items()}
    return value
