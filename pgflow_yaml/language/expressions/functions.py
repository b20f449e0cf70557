"""Functions of the expression language: a table of signatures with one Python function each.

The SQL functions of the engine have the same table and return the same results; the cases in
`tests/expression_cases.py` run against both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, cast

from pgflow_yaml.language.expressions.findings import ExpressionError
from pgflow_yaml.language.expressions.json_reading import read_json
from pgflow_yaml.language.expressions.operators import arithmetic, compare, truth
from pgflow_yaml.language.expressions.values import (
    canonical,
    check_bytes,
    check_items,
    double,
    is_number,
    json_text,
    kind,
    limited_text,
    number_text,
    sort_key,
    text_of,
)
from pgflow_yaml.language.model import Json

if TYPE_CHECKING:
    from collections.abc import Callable

_SPACES = " \t\n\r\f\v"
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_INTEGER = re.compile(r"[+-]?[0-9]{1,4300}")
_DECIMAL = re.compile(
    r"[+-]?(?:[0-9]{1,4000}\.?[0-9]{0,4000}|\.[0-9]{1,4000})(?:[eE][+-]?[0-9]{1,3})?"
)

Args = list[Json]


class Function(NamedTuple):
    """Signature of a function: `takes` has one entry per argument, with a letter per allowed kind.

    n number, t text, l list, o object, b boolean, `*` any value. The last entry holds for further
    arguments too; `least` and `most` bound their number.
    """

    takes: tuple[str, ...]
    call: Callable[[Args], Json]
    least: int
    most: int
    usage: str


_LETTERS = {int: "n", float: "n", str: "t", list: "l", dict: "o", bool: "b", type(None): "z"}
_EXPECTED = {
    "n": "a number",
    "t": "a text",
    "l": "a list",
    "o": "an object",
    "b": "a boolean",
}


def check_call(name: str, args: Args) -> None:
    """Check the number and the kinds of a function's arguments; raises ExpressionError."""
    function = FUNCTIONS[name]
    if not function.least <= len(args) <= function.most:
        raise ExpressionError(f"{name}() does not take {len(args)} arguments")
    for number, arg in enumerate(args):
        allowed = function.takes[min(number, len(function.takes) - 1)]
        if allowed != "*" and _LETTERS[type(arg)] not in allowed:
            expected = " or ".join(_EXPECTED[letter] for letter in allowed)
            raise ExpressionError(
                f"argument {number + 1} of {name}() is {kind(arg)}, not {expected}"
            )


def _integer(value: Json, name: str) -> int:
    number = canonical(cast("float", value))
    if type(number) is not int:
        raise ExpressionError(f"{name}() needs integers, not {number_text(number)}")
    return number


def _len(args: Args) -> Json:
    return len(cast("list[Json]", args[0]))


def _int(args: Args) -> Json:
    value = args[0]
    if type(value) is bool:
        return int(value)
    if type(value) is str:
        stripped = value.strip(_SPACES)
        if not _INTEGER.fullmatch(stripped):
            raise ExpressionError("int() needs the text of an integer")
        return int(stripped)
    number = canonical(cast("float", value))
    return int(number)


def _float(args: Args) -> Json:
    value = args[0]
    if type(value) is str:
        stripped = value.strip(_SPACES)
        if not _DECIMAL.fullmatch(stripped):
            raise ExpressionError("float() needs the text of a number")
        value = float(stripped)
    return canonical(double(cast("float", value)))


def _abs(args: Args) -> Json:
    return abs(canonical(cast("float", args[0])))


def _comparable(values: Args, name: str) -> None:
    numbers = sum(map(is_number, values))
    texts = sum(type(value) is str for value in values)
    if len(values) not in (numbers, texts):
        raise ExpressionError(f"{name}() needs only numbers or only texts")


def _extreme(args: Args, name: str, operator: str) -> Json:
    values = cast("Args", args[0]) if len(args) == 1 else args
    if type(values) is not list:
        raise ExpressionError(f"{name}() is written {name}(list) or {name}(a, b)")
    _comparable(values, name)
    best: Json = None
    for position, value in enumerate(values):
        if position == 0 or compare(operator, value, best):
            best = value
    return best


def _min(args: Args) -> Json:
    return _extreme(args, "min", "<")


def _max(args: Args) -> Json:
    return _extreme(args, "max", ">")


def _sum(args: Args) -> Json:
    total: Json = 0
    for value in cast("Args", args[0]):
        if not is_number(value):
            raise ExpressionError(f"sum() needs only numbers, not {kind(value)}")
        total = arithmetic("+", total, value)
    return total


def _any(args: Args) -> Json:
    return any(map(truth, cast("Args", args[0])))


def _all(args: Args) -> Json:
    return all(map(truth, cast("Args", args[0])))


def _default(args: Args) -> Json:
    return args[1] if args[0] is None else args[0]


def _ordered(value: Json) -> list[tuple[str, Json]]:
    mapping = cast("dict[str, Json]", value)
    check_items(len(mapping))
    return [(key, mapping[key]) for key in sorted(mapping, key=sort_key)]


def _keys(args: Args) -> Json:
    return [key for key, _ in _ordered(args[0])]


def _values(args: Args) -> Json:
    return [value for _, value in _ordered(args[0])]


def _items(args: Args) -> Json:
    return [[key, value] for key, value in _ordered(args[0])]


def _range(args: Args) -> Json:
    bounds = [_integer(arg, "range") for arg in args]
    if len(bounds) == 3 and bounds[2] == 0:
        raise ExpressionError("range() needs a step other than 0")
    span = range(*bounds)
    check_items(_count(span))
    return list(span)


def _count(span: range) -> int:
    # len() refuses what does not fit a machine word.
    distance, step = span.stop - span.start, span.step
    return max(0, -(-distance // step))


def _merge(args: Args) -> Json:
    merged: dict[str, Json] = {}
    for arg in args:
        merged.update(cast("dict[str, Json]", arg))
    return merged


def _flatten(args: Args) -> Json:
    flat: Args = []
    for inner in cast("Args", args[0]):
        if type(inner) is not list:
            raise ExpressionError(f"flatten() needs a list of lists, not {kind(inner)} in it")
        check_items(len(flat) + len(inner))
        flat += inner
    return flat


def _chunk(args: Args) -> Json:
    values, size = cast("Args", args[0]), _integer(args[1], "chunk")
    if size < 1:
        raise ExpressionError("chunk() needs a size of at least 1")
    check_items(-(-len(values) // size))
    return [values[start : start + size] for start in range(0, len(values), size)]


def _product(args: Args) -> Json:
    left, right = cast("Args", args[0]), cast("Args", args[1])
    check_items(len(left) * len(right))
    return [[a, b] for a in left for b in right]


def _lower(args: Args) -> Json:
    return cast("str", args[0]).translate(_LOWER)


def _upper(args: Args) -> Json:
    return cast("str", args[0]).translate(_UPPER)


def _strip(args: Args) -> Json:
    return cast("str", args[0]).strip(_SPACES)


def _split(args: Args) -> Json:
    text = cast("str", args[0])
    if len(args) == 1:
        parts = [part for part in re.split(f"[{_SPACES}]+", text) if part]
    else:
        parts = text.split(_not_empty(args[1], "split"))
    check_items(len(parts))
    return list(parts)


def _not_empty(value: Json, name: str) -> str:
    if not value:
        raise ExpressionError(f"{name}() cannot look for an empty text")
    return cast("str", value)


def _join(args: Args) -> Json:
    parts = [text_of(value) for value in cast("Args", args[0])]
    separator = cast("str", args[1])
    size = sum(len(part.encode()) for part in parts)
    check_bytes(size + len(separator.encode()) * max(0, len(parts) - 1))
    return separator.join(parts)


def _replace(args: Args) -> Json:
    text, new = cast("str", args[0]), cast("str", args[2])
    old = _not_empty(args[1], "replace")
    growth = len(new.encode()) - len(old.encode())
    check_bytes(len(text.encode()) + text.count(old) * growth)
    return text.replace(old, new)


def _startswith(args: Args) -> Json:
    return cast("str", args[0]).startswith(cast("str", args[1]))


def _endswith(args: Args) -> Json:
    return cast("str", args[0]).endswith(cast("str", args[1]))


def _sorted(args: Args) -> Json:
    values = cast("Args", args[0])
    check_items(len(values))
    _comparable(values, "sorted")
    if values and is_number(values[0]):
        return sorted(values, key=lambda value: canonical(cast("float", value)))
    return cast("Args", sorted(cast("list[str]", values)))


def _json(args: Args) -> Json:
    return read_json(cast("str", args[0]))


def _to_json(args: Args) -> Json:
    return limited_text(json_text(args[0]))


def _str(args: Args) -> Json:
    return limited_text(text_of(args[0]))


FUNCTIONS: dict[str, Function] = {
    "len": Function(("tlo",), _len, 1, 1, "len(value)"),
    "str": Function(("*",), _str, 1, 1, "str(value)"),
    "int": Function(("ntb",), _int, 1, 1, "int(value)"),
    "float": Function(("nt",), _float, 1, 1, "float(value)"),
    "abs": Function(("n",), _abs, 1, 1, "abs(number)"),
    "min": Function(("*",), _min, 1, 100, "min(list) or min(a, b)"),
    "max": Function(("*",), _max, 1, 100, "max(list) or max(a, b)"),
    "sum": Function(("l",), _sum, 1, 1, "sum(list)"),
    "any": Function(("l",), _any, 1, 1, "any(list)"),
    "all": Function(("l",), _all, 1, 1, "all(list)"),
    "default": Function(("*",), _default, 2, 2, "default(value, fallback)"),
    "keys": Function(("o",), _keys, 1, 1, "keys(object)"),
    "values": Function(("o",), _values, 1, 1, "values(object)"),
    "items": Function(("o",), _items, 1, 1, "items(object)"),
    "range": Function(("n",), _range, 1, 3, "range(stop) or range(start, stop, step)"),
    "merge": Function(("o",), _merge, 2, 100, "merge(object, object)"),
    "flatten": Function(("l",), _flatten, 1, 1, "flatten(list)"),
    "chunk": Function(("l", "n"), _chunk, 2, 2, "chunk(list, size)"),
    "product": Function(("l", "l"), _product, 2, 2, "product(list, list)"),
    "lower": Function(("t",), _lower, 1, 1, "lower(text)"),
    "upper": Function(("t",), _upper, 1, 1, "upper(text)"),
    "strip": Function(("t",), _strip, 1, 1, "strip(text)"),
    "split": Function(("t", "t"), _split, 1, 2, "split(text) or split(text, separator)"),
    "join": Function(("l", "t"), _join, 2, 2, "join(list, separator)"),
    "replace": Function(("t", "t", "t"), _replace, 3, 3, "replace(text, old, new)"),
    "startswith": Function(("t", "t"), _startswith, 2, 2, "startswith(text, start)"),
    "endswith": Function(("t", "t"), _endswith, 2, 2, "endswith(text, end)"),
    "sorted": Function(("l",), _sorted, 1, 1, "sorted(list)"),
    "json": Function(("t",), _json, 1, 1, "json(text)"),
    "to_json": Function(("*",), _to_json, 1, 1, "to_json(value)"),
}
