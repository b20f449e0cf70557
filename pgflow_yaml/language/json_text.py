"""Read JSON as strictly as flow files are read (S-3): what a lenient reader changes is refused.

Python's reader keeps the last of two equal keys, and takes NaN and numbers that no double holds.
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
    """A text that is no JSON; `start` and `end` are offsets in it, both 0 if there is no place."""

    def __init__(self, message: str, start: int = 0, end: int = 0) -> None:
        super().__init__(message)
        self.start, self.end = start, end


class ChangedInReading(NotJson):
    """JSON that would not mean what is written: a key twice, a number that no double holds."""


def read_json(text: str) -> Json:
    """Return the value of a JSON text; raises NotJson."""
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
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _double(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError
    return number


def _refuse(name: str) -> Json:
    raise ValueError(name)


def _first_change(text: str) -> ChangedInReading:
    """Find what the hooks refused; they know no places. The text is well-formed as far as that."""
    open_keys: list[set[str] | None] = []  # of each object around the word; None for an array
    before = ""
    for found in _TOKEN.finditer(text):
        word = found[0]
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
            return ChangedInReading(message, *found.span())
        before = word
    raise AssertionError("the hooks refused what the search does not find")


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
