"""JSON values in the expression language: kinds, equality, order and text.

There is one kind of number. Without a fraction it is an exact integer, however it was written or
computed (`1.0` and `4 / 2` are integers); with a fraction it is an IEEE double. The text of a
number is plain decimal without trailing zeros. The keys of an object have PostgreSQL's order where
an order is needed: shorter keys first, then by bytes.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from pgflow_yaml.language.expressions.findings import ExpressionError

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

MAX_BYTES = 1_048_576
MAX_ITEMS = 10_000
_DIGITS = 4_300
_LONGEST_GROWTH = 60  # of 5e-324; and a character has up to four bytes
_TOO_LARGE = 10**_DIGITS
_KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


def kind(value: Json) -> str:
    """Return the name of a value's JSON kind for a message, with its article."""
    return "null" if value is None else _KINDS[type(value)]


def canonical(number: float) -> int | float:
    """Return a number as an `int` unless it has a fraction; raises ExpressionError at a bound."""
    if type(number) is int:
        if -_TOO_LARGE < number < _TOO_LARGE:
            return number
        raise ExpressionError(f"a number has more than {_DIGITS:,} digits")
    if not math.isfinite(number):
        raise ExpressionError("a number is too large for a double")
    if not number.is_integer():
        return number
    return int(number)


def double(number: float) -> float:
    """Return the IEEE double nearest to a number; raises ExpressionError when it is too large."""
    try:
        return float(number)
    except OverflowError:
        raise ExpressionError("a number is too large for a double") from None


def is_number(value: Json) -> bool:
    """Return True for a number; true and false are not numbers."""
    return type(value) is int or type(value) is float


def equal(a: Json, b: Json) -> bool:
    """Return True when two JSON values are deeply equal: true is not 1, 1 is 1.0."""
    if type(a) is not type(b):
        return is_number(a) and is_number(b) and canonical(a) == canonical(b)  # type: ignore[arg-type]
    if type(a) is list:
        return len(a) == len(b) and all(map(equal, a, b))  # type: ignore[arg-type]
    if type(a) is dict:
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)  # type: ignore[union-attr,index,call-overload]
    return a == b


def number_text(number: float) -> str:
    """Return a number in plain decimal."""
    number = canonical(number)
    text = repr(number)
    if "e" not in text:
        return text
    from decimal import Decimal  # noqa: PLC0415 - start-up: few numbers are that small

    return format(Decimal(text), "f")


def sort_key(key: str) -> tuple[int, bytes]:
    """Return the sort key that orders the keys of an object as PostgreSQL does."""
    encoded = key.encode()
    return len(encoded), encoded


def json_text(value: Json) -> str:
    """Return a value as JSON: PostgreSQL's spacing and key order, numbers in plain decimal."""
    if type(value) is dict:
        keys = sorted(value, key=sort_key)
        return "{" + ", ".join(f"{_quoted(k)}: {json_text(value[k])}" for k in keys) + "}"
    if type(value) is list:
        return "[" + ", ".join(map(json_text, value)) + "]"
    if is_number(value):
        return number_text(value)  # type: ignore[arg-type]
    return _quoted(value)


def is_short(value: Json) -> bool:
    """Return True for a value whose JSON is at most 1 MiB, as a glance shows.

    Python writes 1e-300 where plain decimal has 300 digits; nothing else is longer in `json_text`.
    """
    return len(json.dumps(value, ensure_ascii=False)) * _LONGEST_GROWTH <= MAX_BYTES


def _quoted(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def text_of(value: Json) -> str:
    """Return a value as templates write it: null is empty, a text is itself, the rest is JSON."""
    if value is None:
        return ""
    return value if type(value) is str else json_text(value)


def limited_text(text: str) -> str:
    """Return a text that an expression made; raises ExpressionError when it is too large."""
    check_bytes(len(text) if text.isascii() else len(text.encode()))
    return text


def check_bytes(size: int) -> None:
    """Raise ExpressionError for a text of more than 1 MiB; `size` is in bytes of UTF-8."""
    if size > MAX_BYTES:
        raise ExpressionError("the value is larger than 1 MiB")


def check_items(count: int) -> None:
    """Raise ExpressionError for a list of too many items."""
    if count > MAX_ITEMS:
        raise ExpressionError(f"a list has more than {MAX_ITEMS:,} items")
