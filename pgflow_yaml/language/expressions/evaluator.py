"""Evaluate the JSON tree of an expression over JSON values, within fixed bounds.

The SQL function `pgflow.evaluate` returns the same values and raises the same errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.language.expressions import operators
from pgflow_yaml.language.expressions.findings import ExpressionError
from pgflow_yaml.language.expressions.functions import FUNCTIONS, check_call
from pgflow_yaml.language.expressions.meter import Meter
from pgflow_yaml.language.expressions.values import (
    check_bytes,
    check_items,
    equal,
    is_short,
    json_text,
    kind,
    limited_text,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.language.model import Json

MAX_DEPTH = 200
_FREE_ARGS = 2
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
            run.made(value)
            if not is_short(value):
                check_bytes(len(json_text(value).encode()))
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise ExpressionError(f"the expression cannot be evaluated: {error}") from error
    return value


class _Evaluation(Meter):
    """State of one evaluation: the environment, the loop variables and what it has used."""

    __slots__ = ("env", "variables")

    def __init__(self, env: Mapping[str, Json]) -> None:
        self.env = env
        self.variables: dict[str, Json] = {}
        self.steps = 0
        self.weights = {}

    def value(self, node: Any, depth: int) -> Json:
        if depth > MAX_DEPTH:
            raise ExpressionError("the expression is nested too deeply")
        return _NODES[node[0]](self, node, depth + 1)

    def values(self, nodes: Any, depth: int, free: int = 0) -> list[Json]:
        """Return the values of nodes, of which the caller bounds all but the first ones."""
        values: list[Json] = []
        try:
            for node in nodes:
                values.append(self.value(node, depth))  # noqa: PERF401 (kept when one fails)
        except ExpressionError:
            # Where SQL meets the bound first, the same error must win.
            self.bound(values[free:])
            raise
        return values


def _literal(_run: _Evaluation, node: Any, _depth: int) -> Json:
    return cast("Json", node[1])


def _path(run: _Evaluation, node: Any, _depth: int) -> Json:
    value = run.env.get(node[1])
    if run.variables:  # a loop reads it again and again
        run.read(value)
    return value


def _variable(run: _Evaluation, node: Any, _depth: int) -> Json:
    return run.variables.get(node[1])


def _get(run: _Evaluation, node: Any, depth: int) -> Json:
    holder = run.value(node[1], depth)
    return holder.get(node[2]) if type(holder) is dict else None


def _index(run: _Evaluation, node: Any, depth: int) -> Json:
    holder, index = run.value(node[1], depth), run.value(node[2], depth)
    if type(holder) is str:
        run.charge_bytes("+", holder)
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
    left, right = run.value(node[1], depth), run.value(node[2], depth)
    run.compared(left, right)
    return equal(left, right) is (node[0] == "==")


def _order(run: _Evaluation, node: Any, depth: int) -> Json:
    left, right = run.value(node[1], depth), run.value(node[2], depth)
    return operators.compare(node[0], left, right)


def _in(run: _Evaluation, node: Any, depth: int) -> Json:
    needle, hay = run.value(node[1], depth), run.value(node[2], depth)
    run.searched(needle, hay)
    return operators.contains(needle, hay) is (node[0] == "in")


def _arithmetic(run: _Evaluation, node: Any, depth: int) -> Json:
    left, right = run.value(node[1], depth), run.value(node[2], depth)
    if type(left) is int or type(left) is float:
        run.computed(left, right)
    elif node[0] == "+":
        run.joined(left, right)
    return operators.arithmetic(node[0], left, right)


def _negative(run: _Evaluation, node: Any, depth: int) -> Json:
    return operators.negative(run.value(node[1], depth))


def _list(run: _Evaluation, node: Any, depth: int) -> Json:
    parts = run.values(node[1:], depth)
    run.bound(parts)
    return parts


def _dict(run: _Evaluation, node: Any, depth: int) -> Json:
    parts = run.values(node[2::2], depth)
    run.bound(parts)
    return dict(zip(node[1::2], parts, strict=True))


def _text(run: _Evaluation, node: Any, depth: int) -> Json:
    parts = run.values(node[1:], depth)
    run.written(parts)
    return limited_text("".join(map(text_of, parts)))


def _call(run: _Evaluation, node: Any, depth: int) -> Json:
    name = node[1]
    if len(node) <= 2 + _FREE_ARGS:
        args = [run.value(part, depth) for part in node[2:]]
    else:
        args = run.values(node[2:], depth, _FREE_ARGS)
        run.bound(args[_FREE_ARGS:])
    check_call(name, args)
    if name == "default":
        return args[1] if args[0] is None else args[0]
    run.called(name, args)
    value = FUNCTIONS[name].call(args)
    run.returned(value)
    return value


def _for(run: _Evaluation, node: Any, depth: int) -> Json:
    _, body, name, source, condition = node
    items = run.value(source, depth)
    if type(items) is not list:
        raise ExpressionError(f"a comprehension walks over a list, not over {kind(items)}")
    check_items(len(items))
    outer = run.variables
    nodes = _nodes(body) + (0 if condition is None else _nodes(condition))
    run.looped(len(items) * nodes, outer)
    results: list[Json] = []
    try:
        for item in items:
            run.variables = {**outer, name: item}
            if condition is None or operators.truth(run.value(condition, depth)):
                results.append(run.value(body, depth))
    except ExpressionError:
        run.bound(results)  # as above
        raise
    run.bound(results)
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
    "!=": _equal,
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
