"""Evaluate the JSON tree of an expression over JSON values, within fixed bounds.

The SQL function `pgflow.evaluate` returns the same values and raises the same errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.language.expressions import operators
from pgflow_yaml.language.expressions.findings import ExpressionError
from pgflow_yaml.language.expressions.functions import call
from pgflow_yaml.language.expressions.values import (
    check_bytes,
    check_items,
    equal,
    json_text,
    kind,
    limited_text,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.language.model import Json

MAX_VISITS = 200_000
MAX_DEPTH = 200
_FREE = 10
_NOT_WALKING = frozenset({"len", "default"})
_UNTOUCHED = frozenset({"path", "var", "get", "index", "lit"})


def evaluate(ast: Json, env: Mapping[str, Json]) -> Json:
    """Return the value of a tree; `env` maps each dotted path that the tree reads to its value.

    Raises ExpressionError for a wrong type, a division by zero or an exceeded bound.
    """
    run = _Evaluation(env)
    try:
        value = run.value(ast, 0)
        # Only a value that the expression made is bounded, not one that a path reads.
        if isinstance(value, (list, dict)) and cast("list[Json]", ast)[0] not in _UNTOUCHED:
            check_bytes(_size(value))
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise ExpressionError(f"the expression cannot be evaluated: {error}") from error
    return value


def _size(value: Json) -> int:
    return len(json_text(value).encode())


class _Evaluation:
    """State of one evaluation: the environment, the loop variables and the visits so far."""

    __slots__ = ("env", "variables", "visits")

    def __init__(self, env: Mapping[str, Json]) -> None:
        self.env = env
        self.variables: dict[str, Json] = {}
        self.visits = 0

    def value(self, node: Any, depth: int) -> Json:
        if depth > MAX_DEPTH:
            raise ExpressionError("the expression is nested too deeply")
        return _NODES[node[0]](self, node, depth + 1)

    def charge(self, visits: int) -> None:
        self.visits += visits
        if self.visits > MAX_VISITS:
            raise ExpressionError(f"the expression takes more than {MAX_VISITS:,} steps")


def _literal(_run: _Evaluation, node: Any, _depth: int) -> Json:
    return cast("Json", node[1])


def _path(run: _Evaluation, node: Any, _depth: int) -> Json:
    return run.env.get(node[1])


def _variable(run: _Evaluation, node: Any, _depth: int) -> Json:
    return run.variables.get(node[1])


def _get(run: _Evaluation, node: Any, depth: int) -> Json:
    holder = run.value(node[1], depth)
    return holder.get(node[2]) if type(holder) is dict else None


def _index(run: _Evaluation, node: Any, depth: int) -> Json:
    holder, index = run.value(node[1], depth), run.value(node[2], depth)
    if type(holder) is str:
        run.charge(_copied(holder))
    return operators.pick(holder, index)


def _and(run: _Evaluation, node: Any, depth: int) -> Json:
    value: Json = None
    for part in node[1:]:
        value = run.value(part, depth)
        if not operators.truth(value):
            break
    return value


def _or(run: _Evaluation, node: Any, depth: int) -> Json:
    value: Json = None
    for part in node[1:]:
        value = run.value(part, depth)
        if operators.truth(value):
            break
    return value


def _not(run: _Evaluation, node: Any, depth: int) -> Json:
    return not operators.truth(run.value(node[1], depth))


def _if(run: _Evaluation, node: Any, depth: int) -> Json:
    chosen = node[2] if operators.truth(run.value(node[1], depth)) else node[3]
    return run.value(chosen, depth)


def _equal(run: _Evaluation, node: Any, depth: int) -> Json:
    return equal(run.value(node[1], depth), run.value(node[2], depth))


def _unequal(run: _Evaluation, node: Any, depth: int) -> Json:
    return not equal(run.value(node[1], depth), run.value(node[2], depth))


def _order(run: _Evaluation, node: Any, depth: int) -> Json:
    left, right = run.value(node[1], depth), run.value(node[2], depth)
    return operators.compare(node[0], left, right)


def _in(run: _Evaluation, node: Any, depth: int) -> Json:
    needle, hay = run.value(node[1], depth), run.value(node[2], depth)
    run.charge(_copied(hay))
    return operators.contains(needle, hay) is (node[0] == "in")


def _arithmetic(run: _Evaluation, node: Any, depth: int) -> Json:
    value = operators.arithmetic(node[0], run.value(node[1], depth), run.value(node[2], depth))
    run.charge(_copied(value))
    return value


def _copied(value: Json) -> int:
    """Return the visits charged to scan or copy a value: one per 10 items or 1,000 characters."""
    if type(value) is list:
        return len(value) // 10
    return len(value) // 1000 if type(value) is str else 0


def _walked(*values: Json) -> int:
    """Return the visits charged to process values: one per item or 100 characters.

    Fewer than ten are free.
    """
    items = sum(len(value) for value in values if type(value) is list or type(value) is dict)
    visits = items + sum(len(value) for value in values if type(value) is str) // 100
    return visits if visits >= _FREE else 0


def _negative(run: _Evaluation, node: Any, depth: int) -> Json:
    return operators.negative(run.value(node[1], depth))


def _list(run: _Evaluation, node: Any, depth: int) -> Json:
    return [run.value(part, depth) for part in node[1:]]


def _dict(run: _Evaluation, node: Any, depth: int) -> Json:
    return {node[at]: run.value(node[at + 1], depth) for at in range(1, len(node), 2)}


def _text(run: _Evaluation, node: Any, depth: int) -> Json:
    value = limited_text("".join([text_of(run.value(part, depth)) for part in node[1:]]))
    run.charge(_walked(value))
    return value


def _call(run: _Evaluation, node: Any, depth: int) -> Json:
    args = [run.value(part, depth) for part in node[2:]]
    value = call(node[1], args)
    if node[1] not in _NOT_WALKING:
        run.charge(_walked(*args, value))
    return value


def _for(run: _Evaluation, node: Any, depth: int) -> Json:
    _, body, name, source, condition = node
    items = run.value(source, depth)
    if type(items) is not list:
        raise ExpressionError(f"a comprehension walks over a list, not over {kind(items)}")
    check_items(len(items))
    run.charge(len(items) * (_nodes(body) + (0 if condition is None else _nodes(condition))))
    outer = run.variables
    results: list[Json] = []
    for item in items:
        run.variables = {**outer, name: item}
        if condition is None or operators.truth(run.value(condition, depth)):
            results.append(run.value(body, depth))
    run.variables = outer
    return results


def _nodes(node: Any) -> int:
    """Return the number of nodes of a tree."""
    if node[0] == "lit":
        return 1
    return 1 + sum(_nodes(part) for part in node if type(part) is list)


_NODES: dict[str, Callable[[_Evaluation, Any, int], Json]] = {
    "lit": _literal,
    "path": _path,
    "var": _variable,
    "get": _get,
    "index": _index,
    "and": _and,
    "or": _or,
    "not": _not,
    "if": _if,
    "==": _equal,
    "!=": _unequal,
    **dict.fromkeys(("<", "<=", ">", ">="), _order),
    **dict.fromkeys(("in", "not in"), _in),
    **dict.fromkeys(("+", "-", "*", "/", "%"), _arithmetic),
    "neg": _negative,
    "list": _list,
    "dict": _dict,
    "text": _text,
    "call": _call,
    "for": _for,
}
