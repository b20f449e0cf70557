"""Operators over JSON values, with numbers as described in `values.py`."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.language.expressions.findings import ExpressionError
from pgflow_yaml.language.expressions.values import (
    canonical,
    check_items,
    double,
    equal,
    is_number,
    kind,
    limited_text,
    number_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.language.model import Json

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "%": operator.mod,
}


def truth(value: Json) -> bool:
    """Return the truth of a value: false for null, false, 0 and empty values."""
    # A fraction that no double can hold is 0.0 already when JSON is read.
    return bool(value)


def compare(symbol: str, a: Json, b: Json) -> bool:
    """Compare two numbers, or two texts by code point; false with null, else ExpressionError."""
    if is_number(a) and is_number(b):
        return _ORDER[symbol](canonical(cast("float", a)), canonical(cast("float", b)))
    if type(a) is str and type(b) is str:
        return _ORDER[symbol](a, b)
    if a is None or b is None:
        return False
    raise ExpressionError(f"`{symbol}` cannot compare {kind(a)} with {kind(b)}")


def contains(needle: Json, hay: Json) -> bool:
    """Return True when a list has the item, an object the key, or a text the part.

    False for null; raises ExpressionError for other values.
    """
    if type(hay) is list:
        return any(equal(needle, item) for item in hay)
    if type(hay) is dict:
        return type(needle) is str and needle in hay
    if hay is None:
        return False
    if type(hay) is str and type(needle) is str:
        return needle in hay
    raise ExpressionError(f"`in` cannot look for {kind(needle)} in {kind(hay)}")


def arithmetic(symbol: str, a: Json, b: Json) -> Json:
    """Return `a symbol b`; `+` also joins two texts or two lists. Raises ExpressionError."""
    if is_number(a) and is_number(b):
        x, y = canonical(cast("float", a)), canonical(cast("float", b))
        if symbol in "/%" and y == 0:
            raise ExpressionError("division by zero")
        if symbol == "/":
            return canonical(double(x) / double(y))
        if type(x) is not int or type(y) is not int:
            x, y = double(x), double(y)
        return canonical(_ARITHMETIC[symbol](x, y))
    if symbol == "+" and type(a) is str and type(b) is str:
        return limited_text(a + b)
    if symbol == "+" and type(a) is list and type(b) is list:
        check_items(len(a) + len(b))
        return a + b
    raise ExpressionError(f"`{symbol}` cannot take {kind(a)} and {kind(b)}")


def negative(value: Json) -> Json:
    """Return `-value`; raises ExpressionError when it is not a number."""
    if not is_number(value):
        raise ExpressionError(f"`-` cannot take {kind(value)}")
    return -canonical(cast("float", value))


def pick(holder: Json, index: Json) -> Json:
    """Return a key of an object, an item of a list or a character; null when it is missing.

    Raises ExpressionError when the index is neither a text nor an integer.
    """
    if type(index) is str:
        return holder.get(index) if type(holder) is dict else None
    if not is_number(index):
        raise ExpressionError(f"an index is a number or a text, not {kind(index)}")
    number = canonical(cast("float", index))
    if type(number) is not int:
        raise ExpressionError(f"an index is an integer, not {number_text(number)}")
    if type(holder) is not list and type(holder) is not str:
        return None
    return holder[number] if -len(holder) <= number < len(holder) else None
