"""The JSON Schema of flow files as an editor asks for it: by the path of keys to a place."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from pgflow_yaml.project import files

if TYPE_CHECKING:
    from collections.abc import Sequence

ITEM = "[]"
"""The step of a path into a list."""


@cache
def schema_of(kind: str) -> dict[str, Any]:
    """Return the schema of flow files ("workflow") or of test files ("test")."""
    content: dict[str, Any] = json.loads(files.schema_text(kind))
    return content


def at_path(path: Sequence[str], kind: str = "workflow") -> dict[str, Any] | None:
    """Return the schema of the value that a path of keys leads to, its references resolved."""
    whole = schema_of(kind)
    schema: dict[str, Any] | None = whole
    for key in path:
        schema = None if schema is None else _below(schema, key)
        schema = None if schema is None else _resolved(schema, whole)
    return schema


def keys_at(path: Sequence[str], kind: str = "workflow") -> dict[str, dict[str, Any]]:
    """Return the keys that a mapping can have, each with its schema."""
    schema = at_path(path, kind) or {}
    return {
        key: _resolved(value, schema_of(kind))
        for key, value in schema.get("properties", {}).items()
        if isinstance(value, dict)
    }


def words_at(path: Sequence[str], kind: str = "workflow") -> list[str]:
    """Return the words of a value that has a fixed set of them."""
    schema = at_path(path, kind) or {}
    if "boolean" in _types(schema):
        return ["true", "false"]
    then = schema.get("then")
    if isinstance(then, dict):
        schema = _resolved(then, schema_of(kind))
    return [word for word in schema.get("enum", ()) if isinstance(word, str)]


def explanation(schema: dict[str, Any]) -> str:
    """Return what the schema says about a key, as Markdown."""
    parts = [str(schema.get("description", ""))]
    if "default" in schema:
        parts.append(f"Default: `{_written(schema['default'])}`")
    if words := [word for word in schema.get("enum", ()) if isinstance(word, str)]:
        parts.append("One of " + ", ".join(f"`{word}`" for word in words))
    if examples := schema.get("examples"):
        parts.append("Examples: " + ", ".join(f"`{_written(each)}`" for each in examples))
    return "\n\n".join(part for part in parts if part)


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _types(schema: dict[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types


def _below(schema: dict[str, Any], key: str) -> dict[str, Any] | None:
    if key == ITEM:
        below = schema.get("items")
    else:
        others = schema.get("additionalProperties")
        if others is None:
            others = schema.get("then", {}).get("additionalProperties")
        below = schema.get("properties", {}).get(key, others)
    return below if isinstance(below, dict) else None


def _resolved(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with what it refers to; its own words take precedence."""
    own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
    below = [schema] if "$ref" in schema else schema.get("allOf", [])
    merged: dict[str, Any] = {}
    for part in below:
        target: Any = part
        if "$ref" in part:
            target = whole
            for name in part["$ref"].removeprefix("#/").split("/"):
                target = target[name]
        merged |= _resolved(target, whole)
    return merged | own
