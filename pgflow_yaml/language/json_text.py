"""Read JSON as strictly as flow files (S-3): refuse values that a lenient reader would change.

Python's reader keeps the last of two equal keys, reads NaN and numbers too large for a double, and
rounds 0.99999999999999999 to 1.0. Whole numbers are exact: 1e3 is the integer 1000, as PostgreSQL
reads it.
"""

from __future__ import annotations

import json
import re
from math import isinf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_CONSTANTS = frozenset({"NaN", "Infinity", "-Infinity"})
_MAX_DIGITS = 4_300


class NotJson(ValueError):
    """The text is not JSON; `start` and `end` are offsets in it, both 0 when they are unknown."""

    def __init__(self, message: str, start: int = 0, end: int = 0) -> None:
        super().__init__(message)
        self.start, self.end = start, end


class ChangedInReading(NotJson):
    """The reader would change the JSON: a repeated key, or a number that a double cannot hold."""


def read_json(text: str) -> Json:
    """Return the value of a JSON text; raises NotJson, or ChangedInReading."""
    if text.startswith("\ufeff"):
        raise NotJson("it begins with a byte order mark (U+FEFF), remove it", 0, 1)
    try:
        value: Json = json.loads(
            text, object_pairs_hook=_object, parse_float=_fraction, parse_constant=_refuse
        )
    except json.JSONDecodeError as error:
        message = error.msg[:1].lower() + error.msg[1:]
        raise NotJson(message, error.pos, error.pos + 1) from error
    except RecursionError as error:
        raise NotJson("it is nested too deeply") from error
    except ValueError as error:
        raise _first_change(text) from error
    return value


def _object(pairs: list[tuple[str, Json]]) -> Json:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError
    return mapping


def _fraction(text: str) -> float:
    """Return a number with a fraction or an exponent; raises ValueError if it is not kept."""
    number = float(text)
    if isinf(number):
        raise ValueError
    if not number.is_integer():
        return number
    from decimal import Decimal  # noqa: PLC0415 (start-up)

    if number == 0:
        if re.search("[1-9]", re.split("[eE]", text)[0]):
            raise ValueError
        return number
    exact = Decimal(text)
    if exact != exact.to_integral_value():
        raise ValueError
    return int(exact) if exact != number or int(exact.as_tuple().exponent) >= 0 else number


def _refuse(name: str) -> Json:
    raise ValueError(name)


def _first_change(text: str) -> ChangedInReading:
    """Return the error for the value that a hook refused; hooks are not told its position.

    The text is well-formed up to that value.
    """
    open_keys: list[set[str] | None] = []  # of each object around the token; None for an array
    before = ""
    for match in _TOKEN.finditer(text):
        word = match[0]
        message = None
        if word in "{[":
            open_keys.append(set() if word == "{" else None)
        elif word in "}]":
            open_keys.pop()
        elif word.startswith('"'):
            keys = open_keys[-1] if open_keys and before in ("{", ",") else None
            message = _twice(word, keys)
        else:
            message = _no_number(word)
        if message is not None:
            return ChangedInReading(message, *match.span())
        before = word
    raise AssertionError("a hook refused a value that the search does not find")


def _twice(word: str, keys: set[str] | None) -> str | None:
    if keys is None:
        return None
    key = json.loads(word)
    if key in keys:
        return f"the key {word} stands twice in its object"
    keys.add(key)
    return None


def _no_number(word: str) -> str | None:
    if word in _CONSTANTS:
        return f"{word} is not a number in JSON"
    if word[0] not in "-0123456789":
        return None
    digits = word.removeprefix("-")
    if digits.isdecimal() and len(digits) > _MAX_DIGITS:
        return f"a number of {len(digits)} digits is too long"
    number = float(word)
    if isinf(number):
        return f"{word} is too large for a double"
    try:
        _fraction(word)
    except ValueError:
        return f"{word} would be rounded to the whole number {number:.0f}"
    return None
