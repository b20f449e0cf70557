"""The meter of one evaluation: it charges each operation before its work, by weight.

`pgflow.expression_charge_…` in SQL charge the same, so both refuse the same expressions.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.expressions.costs import (
    COSTS,
    FREE,
    FREE_BYTES,
    MAX_MADE,
    MAX_STEPS,
    ORDERING,
    ORDERING_STEPS,
    SEARCHING,
    WRITING,
    too_large,
    too_long,
)
from pgflow_yaml.language.expressions.weights import weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgflow_yaml.language.model import Json

_LARGE = 10**150
_FREE_SIDES = 400  # bytes of the two sides of an operator
_HEADER = 12
_FEW = 1_000
_HANDFUL = 5
_WEIGHTY = frozenset({list, dict, str})


class Meter:
    """The steps that an evaluation has taken, and the weights that it has learned."""

    __slots__ = ("steps", "weights")

    def __init__(self) -> None:
        self.steps = 0
        self.weights: dict[int, tuple[Json, int]] = {}

    def charge(self, steps: int) -> None:
        """Count steps; raises ExpressionError when there are too many."""
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise too_long()

    def weight(self, value: Json) -> int:
        """Return the bytes of a value."""
        return weight(value, self.weights)

    def charge_bytes(self, cost: str, value: Json) -> None:
        """Charge the bytes of a value."""
        self.charge(self.weight(value) // COSTS[cost])

    def read(self, value: Json) -> None:
        """Charge what a loop reads; SQL copies it."""
        if type(value) is list or type(value) is dict or type(value) is str:
            self.charge_bytes("read", value)

    def looped(self, nodes: int, outer: dict[str, Json]) -> None:
        """Charge all rounds of a loop at once; SQL copies the outer variables in each."""
        if outer and not weigh_less(outer.values(), COSTS["read"] - 40 * len(outer)):
            nodes *= 1 + self.weight({**outer}) // COSTS["read"]
        self.charge(nodes)

    def bound(self, values: Sequence[Json]) -> None:
        """Raise ExpressionError for values that are too large for one list, object or text."""
        if len(values) <= _FEW and _WEIGHTY.isdisjoint(map(type, values)):
            return
        total = 0
        for at in range(0, len(values), _HANDFUL):
            handful: Any = values[at : at + _HANDFUL]
            total += 16 * _HANDFUL + 4 * len(marshal.dumps(handful, 2))
            if total > MAX_MADE:
                break
        else:
            return
        total = 0
        for value in values:
            total += self.weight(value)
            if total > MAX_MADE:
                raise too_large()

    def made(self, value: Json) -> None:
        """Raise ExpressionError for a list or object that is too large."""
        if weigh_less([value], MAX_MADE):
            return
        if self.weight(value) > MAX_MADE:
            raise too_large()

    def compared(self, left: Json, right: Json) -> None:
        """Charge a comparison of two lists or two objects."""
        if type(left) is not type(right) or (type(left) is not list and type(left) is not dict):
            return
        if not weigh_less((left, right), COSTS["=="]):
            self.charge((self.weight(left) + self.weight(right)) // COSTS["=="])

    def searched(self, needle: Json, hay: Json) -> None:
        """Charge a search in a list or a text."""
        if type(hay) is list:
            if type(needle) is not list and type(needle) is not dict:
                is_number = type(needle) is int or type(needle) is float
                self.charge(len(hay) // COSTS["numbers" if is_number else "scan"])
                return
            each = 1 + self.weight(needle) // COSTS["in"]
            self.charge(len(hay) * each + self.weight(hay) // COSTS["in"])
        elif type(hay) is str and type(needle) is str:
            self.charge_bytes("+", hay)
            self.found(needle, hay)

    def found(self, needle: str, hay: str) -> None:
        """Charge a search that may compare the whole needle at each position."""
        size = self.weight(needle) - _HEADER
        positions = self.weight(hay) - _HEADER - size
        if positions > 0:
            self.charge(positions * size // COSTS["search"])

    def computed(self, left: Any, right: Json) -> None:
        """Charge the digits of two numbers; less than 150 are free."""
        if type(right) is not int and type(right) is not float:
            return
        if -_LARGE < left < _LARGE and -_LARGE < right < _LARGE:
            return
        sizes = self.weight(left), self.weight(right)
        if sum(sizes) >= _FREE_SIDES:
            self.charge(sizes[0] * sizes[1] // COSTS["digits"])

    def joined(self, left: Json, right: Json) -> None:
        """Charge the text or list that `+` makes."""
        if weigh_less((left, right), _FREE_SIDES):
            return
        if type(left) is str and type(right) is str:
            self.charge((self.weight(left) + self.weight(right)) // COSTS["+"])
        elif type(left) is list and type(right) is list:
            size = self.weight(left) + self.weight(right)
            if size < _FREE_SIDES:
                return
            if size > MAX_MADE:
                raise too_large()
            self.charge((len(left) + len(right)) // COSTS["scan"] + size // COSTS["+"])

    def written(self, parts: Sequence[Json]) -> None:
        """Charge the text of a template."""
        if not weigh_less(parts, FREE_BYTES):
            self.bound(parts)
            size = sum(map(self.weight, parts))
            self.charge(size // COSTS["write"] if size >= FREE_BYTES else 0)

    def called(self, name: str, args: Sequence[Json]) -> None:
        """Charge a function for its arguments, before it is called."""
        first: Any = args[0]
        if name == "len":
            if type(first) is str:
                self.charge_bytes("len", first)
            elif type(first) is dict:
                self.charge(len(first) // COSTS["scan"])
            return
        if name in WRITING:
            self._walk(args, COSTS["write"])
        elif name == "json":
            self.charge(sum(map(first.count, ",[{")) + self.weight(first) // COSTS["call"])
        else:
            self._walk(args, COSTS["call"])
            if name in SEARCHING and len(args) > 1:
                self.found(args[1], first)  # type: ignore[arg-type]
            elif name == "product":
                self._product(*args)
            elif name in ORDERING and type(first) is list:
                self.charge(len(first) * ORDERING_STEPS)

    def returned(self, value: Json) -> None:
        """Charge a function for its value."""
        if type(value) is list or type(value) is dict:
            self.made(value)
            self._walk([value], COSTS["call"])
        elif type(value) is str:
            self._walk([value], COSTS["call"])

    def _walk(self, values: Sequence[Json], bytes_a_step: int) -> None:
        steps = 0
        for value in values:
            if type(value) is list or type(value) is dict:
                steps += len(value)
        if not weigh_less(values, FREE_BYTES):
            size = sum(self.weight(value) for value in values if type(value) in _WEIGHTY)
            steps += size // bytes_a_step if size >= FREE_BYTES else 0
        if steps >= FREE:
            self.charge(steps)

    def _product(self, left: Any, right: Any) -> None:
        """Refuse a product that is too large; each item is in it as often as the other list has."""
        if len(right) * self.weight(left) + len(left) * self.weight(right) > MAX_MADE:
            raise too_large()


def weigh_less(values: Iterable[Json], bytes_: int) -> bool:
    """Return True for values that weigh less together, as a glance shows.

    A character has at most four bytes, and a value at most four times the bytes of its marshal.
    """
    size = 0
    for value in values:
        kind = type(value)
        if kind is str:
            size += 12 + 4 * len(value)  # type: ignore[arg-type]
        elif kind is list or kind is dict:
            if len(value) > _FEW:  # type: ignore[arg-type]
                return False
            size += 16 + 4 * len(marshal.dumps(value, 2))
        else:
            size += 40 if kind is not int else 24 + (value.bit_length() >> 2)  # type: ignore[union-attr]
        if size >= bytes_:
            return False
    return True
