"""Check a run input against a flow's `input`: fill in defaults, find every problem.

The database checks the top level of each field again (`pgflow.start_run`), with the same
messages; nested values (items, properties, …) are only checked here.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from pgflow_yaml.language.json_text import ChangedInReading, NotJson, read_json
from pgflow_yaml.language.model import Json
from pgflow_yaml.language.suggestions import did_you_mean

Spec = Mapping[str, Json]
"""The `input` of a flow: the JSON Schema of each field by name."""
Problem = dict[str, str]
"""The `path` of a field and a `message`."""

DEEP_KEYWORDS = frozenset(
    {
        "items",
        "uniqueItems",
        "properties",
        "required",
        "additionalProperties",
        "minProperties",
        "maxProperties",
        "multipleOf",
    }
)
_BOUNDS: tuple[tuple[str, str, Callable[[float, float], bool]], ...] = (
    ("minimum", "must be at least {}", operator.ge),
    ("maximum", "must be at most {}", operator.le),
    ("exclusiveMinimum", "must be more than {}", operator.gt),
    ("exclusiveMaximum", "must be less than {}", operator.lt),
)


def apply_defaults_and_check(
    spec: Spec | None, value: Json, *, form: bool = False
) -> tuple[Json, list[Problem]]:
    """Return the input, or the answer to a form, with defaults filled in, and its problems."""
    fields = spec or {}
    if not isinstance(value, dict):
        return value, [_problem("", f"must be an object, not {type_name(value)}")]
    problems = [
        _problem(
            name,
            f"is not {'a field of this form' if form else 'an input of this flow'}"
            f"{did_you_mean(name, fields) or _known(fields, form=form)}",
        )
        for name in value
        if name not in fields
    ]
    filled: dict[str, Json] = {}
    for name, schema in fields.items():
        if name in value:
            filled[name] = value[name]
            problems.extend(check_value(schema, value[name], path=name))
        elif isinstance(schema, dict) and "default" in schema:
            filled[name] = schema["default"]
        else:
            problems.append(_problem(name, f"is required{_kind_wanted(schema)}"))
    return filled, problems


def form_problems(form: Spec, answer: Json, *, complete: bool) -> list[Problem]:
    """Return every problem of the answer to a form; unless complete, nothing is required."""
    if not complete and isinstance(answer, dict):
        form = {name: schema for name, schema in form.items() if name in answer}
    return apply_defaults_and_check(form, answer, form=True)[1]


def problems_of(definition: Mapping[str, Any], value: Json) -> list[Problem]:
    """Return every problem of a run's input, by the `input` or `input_schema` of a definition."""
    if "input_schema" in definition:
        schema = definition["input_schema"]
        if schema is False:
            return [_problem("", "is refused: this flow takes none")]
        return check_value(schema, value, path="")
    return apply_defaults_and_check(definition.get("input"), value)[1]


def from_pairs(spec: Spec | None, pairs: Iterable[str]) -> tuple[dict[str, Json], list[Problem]]:
    """Return an input from `name=value` texts, and problems; its values are not checked yet."""
    fields = spec or {}
    result: dict[str, Json] = {}
    problems: list[Problem] = []
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            problems.append(_problem(pair, "must be written name=value"))
        elif name in result:
            problems.append(_problem(name, "is given twice"))
        else:
            try:
                result[name] = _read(fields.get(name), text)
            except ChangedInReading as error:
                problems.append(_problem(name, f"cannot be taken: {error}"))
    return result, problems


def check_value(schema: Json, value: Json, *, path: str) -> list[Problem]:
    """Return the problems of one value by the schema of its field."""
    if not isinstance(schema, dict):
        return []
    message = _problem_at_top(schema, value)
    if message is not None:
        return [_problem(path, message)]
    if DEEP_KEYWORDS.isdisjoint(schema):
        return []
    return _deep_problems(schema, value, path)


def type_name(value: Json) -> str:
    """Return the JSON Schema name of a value's type; every number is "number"."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "array", dict: "object"}[type(value)]


def types_of(schema: object) -> list[str]:
    """Return the types that a schema names, which may be none."""
    types = schema.get("type") if isinstance(schema, Mapping) else None
    if isinstance(types, str):
        return [types]
    return [name for name in types if isinstance(name, str)] if isinstance(types, list) else []


def has_type(value: Json, name: str) -> bool:
    """Return True when a value has a JSON Schema type; 1.0 is an integer, true is not a number."""
    if name == "integer":
        return type_name(value) == "number" and float(_number(value)).is_integer()
    return type_name(value) == name


def same(one: Json, other: Json) -> bool:
    """Return True when two JSON values are equal: 1 is 1.0, but true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type_name(one) == type_name(other) and one == other


def _problem_at_top(schema: Mapping[str, Json], value: Json) -> str | None:
    if not _is_json(value):
        return f"is {_json(value)}, which is not a number in JSON"
    types = types_of(schema)
    if types and not any(has_type(value, name) for name in types):
        return f"must be {' or '.join(types)}, not {_shown_type(value)}"
    options = schema.get("enum")
    if isinstance(options, list) and not any(same(value, option) for option in options):
        return f"must be one of {_json(options)}{_meant(value, options)}"
    if "const" in schema and not same(value, schema["const"]):
        return f"must be {_json(schema['const'])}"
    if isinstance(value, str):
        return _size_problem(schema, len(value), ("minLength", "maxLength", "characters"))
    if isinstance(value, list):
        return _size_problem(schema, len(value), ("minItems", "maxItems", "items"))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _bound_problem(schema, value)
    return None


def _bound_problem(schema: Mapping[str, Json], value: float) -> str | None:
    for keyword, message, holds in _BOUNDS:
        bound = schema.get(keyword)
        if isinstance(bound, int | float) and not holds(value, bound):
            return message.format(_json(bound))
    return None


def _size_problem(schema: Mapping[str, Json], size: int, words: tuple[str, str, str]) -> str | None:
    least, most, unit = words
    low, high = schema.get(least), schema.get(most)
    if isinstance(low, int | float) and size < low:
        return f"must have at least {_json(low)} {unit}"
    if isinstance(high, int | float) and size > high:
        return f"must have at most {_json(high)} {unit}"
    return None


def _deep_problems(schema: Mapping[str, Json], value: Json, path: str) -> list[Problem]:
    # Start-up: importing jsonschema takes 100 ms; only fields with deep keywords pay for it.
    from jsonschema import Draft7Validator  # noqa: PLC0415
    from jsonschema.validators import extend  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415

    # S-5: an empty registry, so that no reference is ever fetched.
    registry: Registry[Any] = Registry()
    own = {"multipleOf": _multiple_of, "uniqueItems": _unique_items, "$ref": _reference}
    checker: Any = extend(Draft7Validator, own)  # type: ignore[no-untyped-call]
    validator = checker(dict(schema), registry=registry)
    problems = []
    for error in validator.iter_errors(value):
        inner_path = path + "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
        )
        inner = error.schema if isinstance(error.schema, dict) else {}
        message = _problem_at_top(inner, error.instance) or _deep_message(error, inner)
        problem = _problem(inner_path, message)
        if problem not in problems:
            problems.append(problem)
    return problems


def _multiple_of(_validator: Any, factor: Any, value: Any, _schema: Any) -> Iterator[Any]:
    """Check `multipleOf` in decimal: as doubles, 0.3 is not a multiple of 0.1."""
    from fractions import Fraction  # noqa: PLC0415 (start-up)

    from jsonschema import ValidationError  # noqa: PLC0415

    def decimal(number: Any) -> Fraction:
        return Fraction(repr(number) if isinstance(number, float) else number)

    if type_name(value) == "number" and _is_json(value) and decimal(value) % decimal(factor):
        yield ValidationError(f"not a multiple of {factor}")


def _unique_items(_validator: Any, unique: Any, value: Any, _schema: Any) -> Iterator[Any]:
    """Check `uniqueItems` by hash: jsonschema compares each item with each other one."""
    from jsonschema import ValidationError  # noqa: PLC0415

    if unique and isinstance(value, list):
        known: set[Any] = set()
        for item in map(_hashable, value):
            if item in known:
                yield ValidationError("an item occurs twice")
                return
            known.add(item)


def _reference(_validator: Any, _target: Any, _value: Any, _schema: Any) -> Iterator[Any]:
    """Refuse `$ref`: a schema that names itself has no end, and one elsewhere is not fetched."""
    from jsonschema import ValidationError  # noqa: PLC0415

    yield ValidationError("a reference")


def _hashable(value: Json) -> Any:
    """Return a key that is equal for equal JSON values only: 1 is 1.0, but true is not 1."""
    if isinstance(value, list):
        return ("array", *map(_hashable, value))
    if isinstance(value, dict):
        return ("object", frozenset((key, _hashable(inner)) for key, inner in value.items()))
    return type_name(value), value


def _is_json(value: Any) -> bool:
    """Return False for infinity and NaN, which JSON does not have."""
    return not isinstance(value, float) or isfinite(value)


def _deep_message(error: Any, schema: Mapping[str, Json]) -> str:
    match error.validator:
        case "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            return f"needs {' and '.join(_json(name) for name in missing)}"
        case "additionalProperties":
            known = schema.get("properties")
            names = list(known) if isinstance(known, dict) else []
            extra = [name for name in error.instance if name not in names]
            return f"has no key {' or '.join(map(_json, extra))}{did_you_mean(extra[0], names)}"
        case "uniqueItems":
            return "must not have the same item twice"
        case "$ref":
            return "cannot be checked: its schema has a $ref, which is not supported"
        case "multipleOf":
            return f"must be a multiple of {_json(error.validator_value)}"
        case "minProperties":
            return f"must have at least {error.validator_value} keys"
        case "maxProperties":
            return f"must have at most {error.validator_value} keys"
        case _:
            # A schema `false`; jsonschema does not report its position in the value.
            return f"may not hold {_json(error.instance)}"


def _read(schema: Json, text: str) -> Json:
    """Return the value of a `name=value` text as the first type of its field that it fits."""
    options = schema.get("enum") if isinstance(schema, dict) else None
    types = types_of(schema)
    if not types and isinstance(options, list):
        return next((option for option in options if _as_text(option) == text), text)
    if not types:
        return _parsed(text) if re.match(r'[\[{"0-9-]|true$|false$|null$', text) else text
    refused: ChangedInReading | None = None
    for name in types:
        if name == "string":
            return text
        try:
            value = _parsed(text)
        except ChangedInReading as error:
            refused = error
        else:
            if has_type(value, name):
                return value
    if refused is not None:
        raise refused
    return text


def _parsed(text: str) -> Json:
    """Return the value of a JSON text, or the text itself; raises ChangedInReading."""
    try:
        return read_json(text)
    except ChangedInReading:
        raise
    except NotJson:
        return text


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else _json(value)


def _number(value: Json) -> float:
    # A whole number beyond a double's range is still whole.
    return value if isinstance(value, float) else 0.0


def _shown_type(value: Json) -> str:
    kind = type_name(value)
    if kind in ("object", "array", "null"):
        return kind
    text = _json(value)
    return f"the {kind} {text if len(text) <= 40 else text[:40] + '…'}"


def _meant(value: Json, options: Sequence[Json]) -> str:
    texts = [option for option in options if isinstance(option, str)]
    return did_you_mean(value, texts) if isinstance(value, str) else ""


def _known(fields: Spec, *, form: bool) -> str:
    if not fields:
        return "" if form else ", which takes none"
    names = list(fields)
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return f", whose {'fields' if form else 'inputs'} are {shown}"


def _kind_wanted(schema: Json) -> str:
    types = types_of(schema)
    return f" ({' or '.join(types)})" if types else ""


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _problem(path: str, message: str) -> Problem:
    return {"path": path, "message": message}
