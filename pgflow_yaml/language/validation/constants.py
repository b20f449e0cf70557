"""Expressions whose value, or whose truth value, is known before any run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.expressions import ExpressionError, evaluate

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

# Functions with unbounded results are not evaluated: checking a file takes milliseconds (S-2).
_COSTLY = frozenset({"range", "product", "replace", "join"})


class _Unknown(Exception):
    """The value depends on the run."""


def constant(ast: Any) -> tuple[Json] | None:
    """Return the value of a constant tree in a tuple; None if it depends on the run or fails."""
    try:
        return (_value_of(ast),)
    except (_Unknown, ExpressionError):
        return None


def truth_of(ast: Any) -> bool | None:
    """Return the truth value of a tree; None if it depends on the run."""
    try:
        return bool(_value_of(ast))
    except _Unknown:
        return _truth(ast)
    except ExpressionError:
        return None


def error_of(ast: Any) -> str | None:
    """Return the reason why a part of a tree never has a value, or None."""
    if not isinstance(ast, list) or not ast or ast[0] == "lit":
        return None
    try:
        _value_of(ast)
    except _Unknown:
        return next((error for part in ast[1:] if (error := error_of(part)) is not None), None)
    except ExpressionError as error:
        return str(error)
    return None


def _value_of(ast: Any) -> Json:
    """Evaluate a tree without names; raises _Unknown for others, ExpressionError as a run would."""
    if not _is_closed(ast):
        raise _Unknown
    return evaluate(ast, {})


def _truth(ast: Any) -> bool | None:
    match ast:
        case ["not", inner]:
            known = truth_of(inner)
            return None if known is None else not known
        case ["and", *parts]:
            return _joined(parts, stop=False)
        case ["or", *parts]:
            return _joined(parts, stop=True)
        case ["if", condition, one, other]:
            known = truth_of(condition)
            if known is not None:
                return truth_of(one if known else other)
            both = {truth_of(one), truth_of(other)}
            return both.pop() if len(both) == 1 else None
        case ["==" | "!=" as symbol, one, other] if one == other:
            return bool(symbol == "==")
        case ["list" | "dict", _, *_]:
            return True
        case _:
            return None


def _joined(parts: list[Any], *, stop: bool) -> bool | None:
    """Join truth values: one part equal to `stop` decides; otherwise all must be known."""
    values = {truth_of(part) for part in parts}
    if stop in values:
        return stop
    return None if None in values else not stop


def _is_closed(ast: Any) -> bool:
    if not isinstance(ast, list) or not ast or ast[0] == "lit":
        return True
    if ast[0] in ("path", "var", "for") or (ast[0] == "call" and ast[1] in _COSTLY):
        return False
    return all(_is_closed(part) for part in ast[1:])
