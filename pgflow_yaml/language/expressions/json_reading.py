"""The function json(): read JSON with the rules of both Python and PostgreSQL."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from pgflow_yaml.language.expressions.findings import ExpressionError

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

_MAX_DEPTH = 100
_MAX_DIGITS = 4_300
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(text: str) -> Json:
    """Return the value; raises ExpressionError for a text that is not JSON or nested too deeply."""
    try:
        value: Json = json.loads(text, parse_float=_number, parse_constant=_refuse)
    except (ArithmeticError, ValueError, RecursionError):
        raise ExpressionError(_message()) from None
    _check(value, 0)
    return value


def _message() -> str:
    return "json() needs the text of a JSON value"


def _refuse(text: str) -> Json:
    raise ValueError(text)


def _number(text: str) -> int | float:
    # PostgreSQL keeps 1e3 as the integer 1000, and 1.50 as a number with two decimals.
    from decimal import Decimal  # noqa: PLC0415 - start-up: few flows read JSON in an expression

    _, digits, exponent = Decimal(text).as_tuple()
    if not isinstance(exponent, int) or len(digits) + exponent > _MAX_DIGITS:
        raise ValueError(text)
    return int(Decimal(text)) if exponent >= 0 else float(text)


def _check(value: Json, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ExpressionError(f"json() reads at most {_MAX_DEPTH} levels")
    if type(value) is str and ("\0" in value or _SURROGATE.search(value)):
        raise ExpressionError(_message())
    if type(value) is dict:
        for key, inner in value.items():
            _check(key, depth)
            _check(inner, depth + 1)
    elif type(value) is list:
        for inner in value:
            _check(inner, depth + 1)
