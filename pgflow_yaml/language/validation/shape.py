"""Schema layer: compare the tree with the JSON Schema and describe each mismatch in plain words.

It knows only the keywords that our schema uses; a test compares its verdicts with those of the
jsonschema library. The schema stays the one source of the shape, and a valid file of a thousand
steps does not wait for the library's import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.source import MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.language.validation import messages
from pgflow_yaml.language.validation.unknown_keys import report_unknown_key

if TYPE_CHECKING:
    from pgflow_yaml.language.validation.findings import Path, Report

Schema = Mapping[str, Any]

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "number": (int, float),
    "null": (type(None),),
    "object": (),
    "array": (),
}

_pattern = lru_cache(maxsize=64)(re.compile)


class Shape:
    """Check of nodes against a schema; mismatches are reported."""

    def __init__(self, schema: Schema, report: Report) -> None:
        """Take the whole schema, including its definitions."""
        self.schema = schema
        self.report = report
        self.definitions: Schema = schema["definitions"]

    def check(self, node: Node, schema: Schema, path: Path, *, name: str = "") -> bool:
        """Check one node; return false after a report. `name` is the definition of its schema."""
        if "$ref" in schema:
            _, part, name = schema["$ref"].split("/")
            return self.check(node, self.schema[part][name], path, name=name)
        if name == "childFlow" and isinstance(node, MappingNode):
            path = ()  # a flow of its own, which messages describe like a file
        if id(node) in self.report.document.broken:
            return False
        if not self._has_type(node, schema):
            return self._refuse(node, messages.wrong_type(node, schema, path))
        parts = schema.get("allOf", ())
        if "then" in schema and self._has_type(node, schema["if"]):
            parts = [*parts, schema["then"]]
        for part in parts:
            if not self.check(node, part, path, name=name):
                return False
        if isinstance(node, MappingNode):
            return self._mapping(node, schema, path)
        if isinstance(node, SequenceNode):
            return self._sequence(node, schema, path)
        return self._scalar(node, schema, path, name)

    def _has_type(self, node: Node, schema: Schema) -> bool:
        types = schema.get("type")
        if types is None:
            return True
        return any(_is(node, name) for name in ([types] if isinstance(types, str) else types))

    def _scalar(self, node: ScalarNode, schema: Schema, path: Path, name: str) -> bool:
        value = node.value
        problem: messages.Message | None = None
        if "enum" in schema and value not in schema["enum"]:
            problem = messages.wrong_choice(node, schema["enum"], path)
        elif isinstance(value, str) and not self._text_fits(value, schema):
            problem = messages.wrong_text(node, schema, path, name=name)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            problem = messages.wrong_number(value, schema, path, name=name)
        banned = schema.get("not", {}).get("enum", ())
        if problem is None and value in banned and not isinstance(value, bool):
            problem = messages.forbidden(node, path, name=name)
        return problem is None or self._refuse(node, problem)

    def _text_fits(self, text: str, schema: Schema) -> bool:
        if len(text) > schema.get("maxLength", len(text)):
            return False
        # `$` also matches before a last line break; a name must not end with one.
        return "pattern" not in schema or (
            _pattern(schema["pattern"]).search(text) is not None and not text.endswith("\n")
        )

    def _sequence(self, node: SequenceNode, schema: Schema, path: Path) -> bool:
        if len(node.items) < schema.get("minItems", 0):
            return self._refuse(node, messages.empty(path))
        fits = True
        if "items" in schema:
            checks = [self.check(item, schema["items"], (*path, "item")) for item in node.items]
            fits = all(checks)
        if fits and schema.get("uniqueItems"):
            fits = self._unique(node, path)
        if not fits:
            self.report.malformed.add(id(node))
        return fits

    def _unique(self, node: SequenceNode, path: Path) -> bool:
        seen: set[str] = set()
        fits = True
        for item in node.items:
            text = item.text if isinstance(item, ScalarNode) else ""
            if text in seen:
                duplicate = messages.duplicate(text, path)
                self.report.add(duplicate.code, duplicate.message, item, fix=duplicate.fix)
                fits = False
            seen.add(text)
        return fits

    def _mapping(self, node: MappingNode, schema: Schema, path: Path) -> bool:
        fits = True
        if len(node.entries) < schema.get("minProperties", 0):
            return self._refuse(node, messages.empty(path))
        if len(node.entries) > schema.get("maxProperties", len(node.entries)):
            return self._refuse(node, messages.too_many(len(node.entries), schema, path))
        properties: Schema = schema.get("properties", {})
        for key, (key_node, value) in node.entries.items():
            if key in properties:
                fits &= self.check(value, properties[key], (*path, key), name=key)
            elif not any(_pattern(p).search(key) for p in schema.get("patternProperties", ())):
                fits &= self._other_key(node, schema, path, entry=(key_node, value))
        for key in schema.get("required", ()):
            if not self.report.has(node, key):
                fits = False
                messages.report_missing(self.report, node, key, path)
        if not fits:
            self.report.partly_malformed.add(id(node))
        return fits

    def _other_key(
        self, node: MappingNode, schema: Schema, path: Path, *, entry: tuple[ScalarNode, Node]
    ) -> bool:
        key_node, value = entry
        others = schema.get("additionalProperties", True)
        fits = True
        if "propertyNames" in schema:
            fits = self.check(key_node, schema["propertyNames"], path)
        if others is False:
            properties = schema["properties"]
            ours, same_shape = report_unknown_key(self.report, entry, path, list(properties))
            if ours is not None:
                self.report.intended.setdefault(id(node), {}).setdefault(ours, value)
            if same_shape and ours is not None and ours not in node.entries:
                self.check(value, properties[ours], (*path, ours), name=ours)
            return False
        if others is not True:
            fits &= self.check(value, others, (*path, key_node.text))
        return fits

    def _refuse(self, node: Node, problem: messages.Message) -> bool:
        self.report.malformed.add(id(node))
        self.report.add(
            problem.code,
            problem.message,
            node,
            fix=problem.fix,
            label=problem.label,
            write=problem.write,
        )
        return False


def _is(node: Node, name: str) -> bool:
    if isinstance(node, MappingNode):
        return name == "object"
    if isinstance(node, SequenceNode):
        return name == "array"
    value = node.value
    if name == "integer":
        whole = isinstance(value, float) and value.is_integer()
        return whole or (isinstance(value, int) and not isinstance(value, bool))
    return isinstance(value, _PYTHON_TYPES[name]) and (
        name == "boolean" or not isinstance(value, bool)
    )
