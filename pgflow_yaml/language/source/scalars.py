"""Values of plain scalars by the YAML 1.2 core schema: `no`, `12:30` and dates are texts (P8)."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_DIGITS = 300
# A double keeps 15 significant digits, whatever they are.
_SAFE_LENGTH = 15

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_JSON = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MAYBE_NUMBER = frozenset("0123456789+-.")


class Plain(NamedTuple):
    """Value of a plain scalar, with an error or a warning about it."""

    value: str | int | float | bool | None
    error: str | None = None
    warning: str | None = None


def plain_value(text: str) -> Plain:
    """Return the value of a plain scalar."""
    if text in _CONSTANTS:
        return Plain(_CONSTANTS[text])
    if text[0] not in _MAYBE_NUMBER:
        return Plain(text)
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _NOT_JSON.fullmatch(text):
        return Plain(text, error=f"{text} is not a number in JSON")
    return Plain(text)


def kind_of(value: object) -> str:
    """Return the name of the JSON type of a value, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _integer(text: str) -> Plain:
    if len(text) > MAX_DIGITS:
        return Plain(text, error=f"a number of {len(text)} digits is too long")
    if text[:2] in ("0o", "0x"):
        return Plain(int(text, 0))
    value = int(text)
    if text.lstrip("+-").startswith("0") and text.lstrip("+-") != "0":
        return Plain(value, warning=f"{text} is read as the number {value}")
    return Plain(value)


def _float(text: str) -> Plain:
    if len(text) > MAX_DIGITS:
        return Plain(text, error=f"a number of {len(text)} digits is too long")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        return Plain(text, error=f"{text} is too large for a number")
    plain = "e" not in text.lower()
    respelt = plain and text.endswith("0") and text.lstrip("+") != repr(value)
    if respelt or not _is_exact(text, value):
        return Plain(value, warning=f"{text} is read as the number {value}")
    return Plain(value)


def _is_exact(text: str, value: float) -> bool:
    """Return True if the shortest text of a double has the value of its text in the file."""
    if value == 0:
        return re.search("[1-9]", re.split("[eE]", text)[0]) is None
    if len(text) <= _SAFE_LENGTH:
        return True
    from decimal import Decimal  # noqa: PLC0415 (start-up)

    return Decimal(text) == Decimal(repr(value))


def quote(text: str) -> str:
    """Return a text in quotes, as YAML reads it."""
    return "'" + text.replace("'", "''") + "'" if {'"', "\\"} & set(text) else f'"{text}"'
