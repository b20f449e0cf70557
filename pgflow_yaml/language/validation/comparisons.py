"""Comparisons and maps that contradict the known type or values of a name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from pgflow_yaml.language.inputs import check_value, has_type, type_name
from pgflow_yaml.language.suggestions import closest
from pgflow_yaml.language.validation.constants import constant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.expressions import Comparison
    from pgflow_yaml.language.model import Json

_STATUS: dict[str, Json] = {"enum": ["completed", "skipped", "failed", "cancelled"]}
_RUN_STATUS: dict[str, Json] = {"enum": ["completed", "failed", "cancelled"]}
_SKIP_REASON: dict[str, Json] = {
    "enum": ["condition_unmet", "handler_failed", "dependency_skipped", None]
}
# Statuses of other tools, and ours for them.
_OTHER_WORDS = {
    "success": "completed",
    "succeeded": "completed",
    "successful": "completed",
    "done": "completed",
    "ok": "completed",
    "failure": "failed",
    "error": "failed",
    "canceled": "cancelled",
}
_ORDERS = ("<", "<=", ">", ">=")


class Mismatch(NamedTuple):
    """Finding about a comparison or map that cannot mean what it says."""

    code: str
    message: str
    fix: str
    instead: tuple[Json, str] | None = None
    """A literal, and the text to write in its place, where that is the fix."""


def mismatch(comparison: Comparison, fields: Mapping[str, Json] | None) -> Mismatch | None:
    """Return the problem of a comparison; None if its result can be true or false."""
    symbol, left, right = comparison.symbol, comparison.left, comparison.right
    if _is(right, "path") and _is(left, "lit") and "in" not in symbol:
        left, right = right, left
    if not (_is(left, "path") and _is(right, "lit")):
        return None
    path, value = left[1], right[1]  # type: ignore[index]
    schema = schema_of(str(path), fields)
    if schema is None:
        return None
    if symbol in _ORDERS:
        return _order(str(path), symbol, schema, value)
    values = value if "in" in symbol else [value]
    if not isinstance(values, list):
        return None
    return next((never for item in values if (never := _never(str(path), schema, item))), None)


def not_a_list(
    ast: Any, fields: Mapping[str, Json] | None, *, input_is_object: bool
) -> Mismatch | None:
    """Return the reason why a tree is never a list to map over; None if it may be one."""
    if ast == ["path", "input"] and input_is_object:
        fix = "name the field that holds the list: `map: input.NAME`"
        return Mismatch("PF255", "`map` needs a list, and `input` is an object", fix)
    if _is(ast, "path"):
        schema = schema_of(ast[1], fields)
        types = schema.get("type") if schema is not None else None
        kinds = [types] if isinstance(types, str) else types
        if not isinstance(kinds, list) or "array" in kinds:
            return None
        message = f"`map` needs a list, and {ast[1]} is {' or '.join(map(str, kinds))}"
        return Mismatch("PF255", message, "map over a list, or change the field under `input`")
    known = constant(ast)
    if known is None or isinstance(known[0], list):
        return None
    message = f"`map` needs a list, and this is {json.dumps(known[0], ensure_ascii=False)[:40]}"
    return Mismatch(
        "PF255", message, "write a list: `map: [1, 2]`, or an expression that gives one"
    )


def _never(path: str, schema: Mapping[str, Json], value: Json) -> Mismatch | None:
    if path.count(".") > 1 and value is None and path.startswith("input."):
        return None  # a key that may be missing gives null
    problems = check_value(dict(schema), value, path="")
    if not problems:
        return None
    shown = json.dumps(value, ensure_ascii=False)
    message = f"{path} is never {shown}: it {problems[0]['message']}"
    return Mismatch("PF250", message, *_fix(path, schema, value))


def _fix(path: str, schema: Mapping[str, Json], value: Json) -> tuple[str, tuple[Json, str] | None]:
    """Return the help, and the literal with the text to write in its place."""
    ours = _literal(path, schema, value)
    if ours is not None:
        quoted = isinstance(value, str) and not ours.startswith('"')
        return f"write {ours}{' without quotes' * quoted}", (value, ours)
    if path.startswith("input."):
        return "compare with what it can be, or change the field under `input`", None
    return "compare with one of these", None


def _literal(path: str, schema: Mapping[str, Json], value: Json) -> str | None:
    """Return the literal that was probably meant, as an expression writes it; or None."""
    if not path.startswith("input.") and isinstance(value, str) and value in _OTHER_WORDS:
        return f'"{_OTHER_WORDS[value]}"'
    options = schema.get("enum")
    if isinstance(options, list) and isinstance(value, str):
        near = closest(value, [option for option in options if isinstance(option, str)])
        if near is not None:
            return f'"{near}"'
    kind = schema.get("type")
    if isinstance(value, str) and kind in ("integer", "number", "boolean"):
        try:
            parsed: Json = json.loads(value)
        except ValueError:
            parsed = None
        if has_type(parsed, str(kind)):
            return value
    if isinstance(value, int | float) and kind == "string":
        return f'"{json.dumps(value)}"'
    return None


def _order(path: str, symbol: str, schema: Mapping[str, Json], value: Json) -> Mismatch | None:
    """Return the problem of an order between a number and a text: every run would fail."""
    types = schema.get("type")
    kinds = {"integer": "number", "number": "number", "string": "string"}
    if not isinstance(types, str) or types not in kinds or value is None:
        return None
    if type_name(value) == kinds[types]:
        return None
    noun = {"number": "a number", "string": "a text"}[kinds[types]]
    message = f"`{symbol}` cannot compare {path}, {noun}, with {json.dumps(value)}"
    return Mismatch("PF251", message, *_fix(path, schema, value))


def schema_of(path: str, fields: Mapping[str, Json] | None) -> Mapping[str, Json] | None:
    """Return the schema of the values of a path; None if it is unknown."""
    match path.split("."):
        case ["input", *keys] if keys and fields is not None:
            schema: Json = {"properties": dict(fields)}
            for key in keys:
                properties = schema.get("properties") if isinstance(schema, dict) else None
                schema = properties.get(key) if isinstance(properties, dict) else None
            return schema if isinstance(schema, dict) else None
        case ["steps", _, "status"]:
            return _STATUS
        case ["steps", _, "skip_reason"]:
            return _SKIP_REASON
        case ["run", "status"]:
            return _RUN_STATUS
    return None


def _is(ast: Any, kind: str) -> bool:
    return isinstance(ast, list) and ast[:1] == [kind]
