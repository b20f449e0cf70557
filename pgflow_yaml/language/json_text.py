"""Read JSON as strictly as flow files (S-3): refuse values that a lenient reader would change.

Python's reader keeps the last of two equal keys, and reads NaN and numbers too large for a double.
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
    """The reader would change the JSON: a repeated key, or a number too large for a double."""


def read_json(text: str) -> Json:
    """Return the value of a JSON text; raises NotJson, or ChangedInReading."""
    try:
        value: Json = json.loads(
            text, object_pairs_hook=_object, parse_float=_double, parse_constant=_refuse
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


def _double(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError
    return number


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
    return f"{word} is too large for a double" if isinf(float(word)) else None
