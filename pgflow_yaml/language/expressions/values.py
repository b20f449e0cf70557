"""JSON values as the expression language sees them: kinds, truth, equality, order, text.

There is one kind of number. It is an integer when it has no fraction, however it was written or
computed (`1.0` and `4 / 2` are integers), and exact; a number with a fraction is an IEEE double.
The text of a number is plain decimal without trailing zeros. An object has no order of its own:
where one is needed it is PostgreSQL's (shorter keys first, then by bytes).
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
    """Name the JSON kind of a value for a message, with its article."""
    return "null" if value is None else _KINDS[type(value)]


def canonical(number: float) -> int | float:
    """Give the one form of a number: an `int` unless it has a fraction."""
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
    """Give the IEEE double nearest to a number."""
    try:
        return float(number)
    except OverflowError:
        raise ExpressionError("a number is too large for a double") from None


def is_number(value: Json) -> bool:
    """Tell whether a value is a number; true and false are none."""
    return type(value) is int or type(value) is float


def equal(a: Json, b: Json) -> bool:
    """Compare two JSON values deeply: true is not 1, 1 is 1.0."""
    if type(a) is not type(b):
        return is_number(a) and is_number(b) and canonical(a) == canonical(b)  # type: ignore[arg-type]
    if type(a) is list:
        return len(a) == len(b) and all(map(equal, a, b))  # type: ignore[arg-type]
    if type(a) is dict:
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)  # type: ignore[union-attr,index,call-overload]
    return a == b


def number_text(number: float) -> str:
    """Write a number in plain decimal."""
    number = canonical(number)
    text = repr(number)
    if "e" not in text:
        return text
    from decimal import Decimal  # noqa: PLC0415 - start-up: few numbers are that small

    return format(Decimal(text), "f")


def sort_key(key: str) -> tuple[int, bytes]:
    """Order the keys of an object as PostgreSQL does."""
    encoded = key.encode()
    return len(encoded), encoded


def json_text(value: Json) -> str:
    """Write a value as JSON: PostgreSQL's spacing and key order, numbers in plain decimal."""
    if type(value) is dict:
        keys = sorted(value, key=sort_key)
        return "{" + ", ".join(f"{_quoted(k)}: {json_text(value[k])}" for k in keys) + "}"
    if type(value) is list:
        return "[" + ", ".join(map(json_text, value)) + "]"
    if is_number(value):
        return number_text(value)  # type: ignore[arg-type]
    return _quoted(value)


def _quoted(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def text_of(value: Json) -> str:
    """Write a value as a template does: null is empty, a text is itself, the rest is JSON."""
    if value is None:
        return ""
    return value if type(value) is str else json_text(value)


def limited_text(text: str) -> str:
    """Let a text pass that an expression made, unless it is too large."""
    check_bytes(len(text) if text.isascii() else len(text.encode()))
    return text


def check_bytes(size: int) -> None:
    """Refuse a text of so many bytes of UTF-8."""
    if size > MAX_BYTES:
        raise ExpressionError("the value is larger than 1 MiB")


def check_items(count: int) -> None:
    """Refuse a list of so many items."""
    if count > MAX_ITEMS:
        raise ExpressionError(f"a list has more than {MAX_ITEMS:,} items")
