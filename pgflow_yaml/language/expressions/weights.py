"""The weight of a value: the bytes that it takes as PostgreSQL's jsonb.

PostgreSQL knows it without a look at the value, and the format cannot change, since tables have it
on disk: a header of four bytes for the value and for each list or object, four bytes for each item,
key and value, then the texts and numbers; numbers, lists and objects begin at a multiple of four.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.expressions.values import number_text

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

MOST = 8_388_608
"""A weight above this is cut to it: the walk over a value ends."""

_SCALAR = 12
_SMALL = 10**8


def weight(value: Json, known: dict[int, tuple[Json, int]]) -> int:
    """Return the weight of a value; `known` keeps those of lists and objects."""
    kind = type(value)
    if kind is list or kind is dict:
        found = known.get(id(value))
        if found is None:
            found = known[id(value)] = value, min(MOST, 4 + _container(value, known, 0))
        return found[1]
    return min(MOST, _SCALAR + _data(value))


def _data(value: Json) -> int:
    """Return the bytes of a text or number alone; null, true and false need none."""
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode())
    if value is None or type(value) is bool:
        return 0
    return _number(value)  # type: ignore[arg-type]


def _container(value: Any, known: dict[int, tuple[Json, int]], before: int) -> int:
    """Return the bytes of a list or object; ends early when there are too many with those before.

    The items are walked over in their order in jsonb, for the gaps between them depend on it.
    """
    found = known.get(id(value))
    if found is not None:
        return found[1] - 4
    if type(value) is list:
        size, items = 4 + 4 * len(value), value
        kinds = set(map(type, value))
        if len(kinds) == 1 and (quick := _alike(value, kinds.pop())) is not None:
            return size + quick
    else:
        size = 4 + 8 * len(value) + sum(map(_data, value))
        items = [value[key] for key in _in_order(value)]
    for item in items:
        kind = type(item)
        if kind is str:
            size += len(item) if item.isascii() else len(item.encode())
        elif kind is list or kind is dict:
            size = (size + 3 & ~3) + _container(item, known, before + size)
            if before + size > MOST:
                break
        elif item is not None and kind is not bool:
            size = (size + 3 & ~3) + _number(item)
    return size


def _alike(items: list[Any], kind: type) -> int | None:
    """Return the bytes of items of one kind where they need no walk, else None."""
    if kind is str:
        if (characters := sum(map(len, items))) > MOST:
            return characters
        joined = "".join(items)
        return len(joined) if joined.isascii() else len(joined.encode())
    if kind is bool or kind is type(None):
        return 0
    if kind is int and min(items) > 0 and max(items) < 10_000:
        return 8 * len(items)
    return None


def _in_order(value: dict[str, Json]) -> list[str]:
    """Return the keys in PostgreSQL's order: shorter ones first, then by bytes."""
    if len(value) < 2:
        return list(value)
    if all(map(str.isascii, value)):
        return sorted(sorted(value), key=len)
    return sorted(value, key=lambda key: ((encoded := key.encode()), len(encoded))[::-1])


def _number(number: float) -> int:
    """Return the bytes of a numeric: a header, and two for each group of four digits."""
    if type(number) is int or number.is_integer():
        whole = abs(int(number))
        if whole < _SMALL:
            if whole < 10_000:
                return 8 if whole else 6
            return 10 if whole % 10_000 else 8
        return _whole(whole)
    text = repr(number)
    if "e" in text:
        text = number_text(number)
    before, after = text.lstrip("-").split(".")
    groups, first = -(-len(after) // 4), -(-len(before) // 4) - 1
    if before != "0":
        groups += first + 1
    else:
        skipped = (len(after) - len(after.lstrip("0"))) // 4
        groups, first = groups - skipped, -1 - skipped
    short = len(after) <= 63 and first >= -64
    return (6 if short else 8) + 2 * groups


def _whole(whole: int) -> int:
    powers = _powers()
    groups = min(int(whole.bit_length() * 0.0752575) + 1, len(powers))
    while whole < powers[groups - 1]:
        groups -= 1
    header = 6 if groups <= 64 else 8
    if whole % 10_000 == 0:  # zeros at the end are not stored
        for zeros in (1_024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1):
            if zeros < groups and whole % powers[zeros] == 0:
                whole //= powers[zeros]
                groups -= zeros
    return header + 2 * groups


@functools.cache
def _powers() -> list[int]:
    """Return the powers of 10,000: the groups of an integer are counted without its text."""
    return [10_000**n for n in range(1_076)]
