"""Meaning of `input` and `form`: keywords for the type of a field, defaults that it accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.inputs import check_value
from pgflow_yaml.language.numbers import whole
from pgflow_yaml.language.source import MappingNode, ScalarNode, SequenceNode
from pgflow_yaml.language.validation.findings import Path, Report, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.language.model import Json

# For each keyword: its types, and the keyword with the same purpose for other types.
_KEYWORDS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "minimum": (("integer", "number"), {"string": "minLength", "array": "minItems"}),
    "maximum": (("integer", "number"), {"string": "maxLength", "array": "maxItems"}),
    "exclusiveMinimum": (("integer", "number"), {}),
    "exclusiveMaximum": (("integer", "number"), {}),
    "multipleOf": (("integer", "number"), {}),
    "minLength": (("string",), {"integer": "minimum", "number": "minimum", "array": "minItems"}),
    "maxLength": (("string",), {"integer": "maximum", "number": "maximum", "array": "maxItems"}),
    "minItems": (("array",), {"string": "minLength", "object": "minProperties"}),
    "maxItems": (("array",), {"string": "maxLength", "object": "maxProperties"}),
    "uniqueItems": (("array",), {}),
    "items": (("array",), {"object": "properties"}),
    "minProperties": (("object",), {"array": "minItems"}),
    "maxProperties": (("object",), {"array": "maxItems"}),
    "properties": (("object",), {"array": "items"}),
    "required": (("object",), {}),
    "additionalProperties": (("object",), {}),
}


def build_input(report: Report, root: MappingNode) -> dict[str, Json] | None:
    """Return the fields of the run input; None if the flow declares none or is unreadable."""
    node = report.written(root, "input")
    return read_fields(report, node, ("input",)) if isinstance(node, MappingNode) else None


def read_fields(report: Report, node: MappingNode, path: Path) -> dict[str, Json]:
    """Return the schema of each field of the run input, or of a form; `path` leads to them."""
    fields: dict[str, Json] = {}
    for name, (_, field) in node.entries.items():
        if isinstance(field, MappingNode) and report.usable(field):
            _check_field(report, field, (*path, name))
            fields[name] = _field(field)
        else:
            fields[name] = {}
    return fields


def build_input_schema(report: Report, root: MappingNode) -> Json:
    """Return the schema of an input that is not a mapping of fields, or None."""
    node = report.value(root, "input_schema")
    if node is None:
        return None
    if report.has(root, "input"):
        message = 'the flow has both "input" and "input_schema"; each says what a run takes'
        report.add("PF205", message, root.entries["input_schema"][0], fix="keep one of the two")
    if isinstance(node, MappingNode):
        _check_field(report, node, ("input_schema",))
        default = node.entries.get("default")
        if default is not None:
            message = "the default of input_schema is never used: a run is given its whole input"
            report.add("PF205", message, default[0], fix="remove it")
    return node.data()


def fields_of(fields: dict[str, Json] | None, schema: Json) -> dict[str, Json] | None:
    """Return the fields that `input.NAME` can name; None if they are unknown."""
    if fields is not None or not isinstance(schema, dict):
        return fields
    named = schema.get("properties")
    if isinstance(named, dict) and schema.get("additionalProperties") is False:
        return named
    return None


def _field(node: MappingNode) -> Json:
    field = {key: value.data() for key, (_, value) in node.entries.items()}
    return {**field, "default": whole(field, field["default"])} if "default" in field else field


def _check_field(report: Report, node: MappingNode, path: Path) -> None:
    types = _types(report, node)
    for keyword, (key, value) in node.entries.items():
        fitting, equivalents = _KEYWORDS.get(keyword, ((), {}))
        if not report.usable(value):
            continue
        if types and fitting and not set(types) & set(fitting):
            kind = " or ".join(types)
            other = next((equivalents[name] for name in types if name in equivalents), None)
            message = f'"{keyword}" says nothing about the type {kind} of {describe(path)}'
            if keyword == "required":
                fix = "remove it: a field without `default` is required"
            else:
                fix = f"write {other}" if other else f"remove it, or write type: {fitting[0]}"
            report.add("PF205", message, key, fix=fix)
    _check_values(report, node, path)
    for keyword in ("items", "additionalProperties"):
        inner = report.value(node, keyword)
        if isinstance(inner, MappingNode):
            _check_field(report, inner, (*path, keyword))
    properties = report.value(node, "properties")
    if isinstance(properties, MappingNode):
        for name, (_, inner) in properties.entries.items():
            if isinstance(inner, MappingNode) and report.usable(inner):
                _check_field(report, inner, (*path, "properties", name))


def _check_values(report: Report, node: MappingNode, path: Path) -> None:
    """Check `default` and the values of `enum` with the field's own keywords."""
    if id(node) in report.partly_malformed:
        return
    schema = {key: value.data() for key, (_, value) in node.entries.items()}
    default = node.get("default")
    if default is not None:
        for problem in check_value(schema, default.data(), path=""):
            location = f" at {problem['path'].lstrip('.')}" if problem["path"] else ""
            message = f"the default of {describe(path)}{location} {problem['message']}"
            fix = "change the default, or what the field takes"
            report.add("PF208", message, default, fix=fix)
    options = node.get("enum")
    if isinstance(options, SequenceNode) and "type" in schema:
        for option in options.items:
            for problem in check_value({"type": schema["type"]}, option.data(), path=""):
                message = f"a value in enum of {describe(path)} {problem['message']}"
                report.add("PF208", message, option, fix="change the value, or the type")


def _types(report: Report, node: MappingNode) -> Sequence[str]:
    types = report.value(node, "type")
    if isinstance(types, SequenceNode):
        return [item.text for item in types.items if isinstance(item, ScalarNode)]
    return [types.text] if isinstance(types, ScalarNode) else []
