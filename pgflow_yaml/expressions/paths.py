"""Names and what stands behind them: paths of the environment, keys, indexes."""

from __future__ import annotations

import ast
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pgflow_yaml.expressions.findings import Finding, Reference
from pgflow_yaml.model import Json

if TYPE_CHECKING:
    from pgflow_yaml.expressions.parser import _Parser

STEP_FIELDS = ("output", "status", "skip_reason", "error")
RUN_FIELDS = ("id", "flow", "version", "started_at", "scheduled_at", "labels")
_ELSEWHERE = {
    "item": "is known only in the `with` of a map step",
    "index": "is known only in the `with` of a map step",
}
_WRONG: Json = ["lit", None]
_CONSTANTS = {
    "TRUE": "true",
    "FALSE": "false",
    "NULL": "null",
    "nil": "null",
    "undefined": "null",
    "none": "null",
}


def convert_path(parser: _Parser, node: ast.expr, depth: int) -> Json:
    """Convert a name, `.key` or `[index]`; keys that follow a root name become one path."""
    if isinstance(node, ast.Subscript):
        return _subscript(parser, node, depth)
    chain, base = _chain(parser, node)
    if not isinstance(base, ast.Name):
        tree = parser.convert(base, depth)
        keys = chain
    else:
        name = str(parser.token(base.id).value)
        variable = parser.variable(name)
        if variable is None:
            return _root(parser, base, name, chain)
        tree, keys = variable, chain
    for key, _ in keys:
        tree = ["get", tree, key]
    return tree


def _chain(parser: _Parser, node: ast.expr) -> tuple[list[tuple[str, int]], ast.expr]:
    """Give the keys behind a value, each with its end, and the value."""
    keys: list[tuple[str, int]] = []
    while isinstance(node, ast.Attribute):
        token = parser.token(node.attr)
        keys.append((str(token.value), token.end))
        node = node.value
    keys.reverse()
    return keys, node


def _subscript(parser: _Parser, node: ast.Subscript, depth: int) -> Json:
    holder = node.value
    if isinstance(node.slice, ast.Slice):
        parser.convert(holder, depth)
        return parser.wrong(
            node,
            "PF216",
            "a slice is not part of the expression language",
            "take single items, or use chunk(list, size)",
        )
    key = None
    if isinstance(node.slice, ast.Constant) and parser.token(str(node.slice.value)).kind == "text":
        key = str(parser.token(str(node.slice.value)).value)
    if _is_steps(parser, holder):
        return _step_in_brackets(parser, node, key)
    tree = parser.convert(holder, depth)
    if key is not None:
        return ["get", tree, key]
    return ["index", tree, parser.convert(node.slice, depth)]


def _is_steps(parser: _Parser, node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Name)
        and parser.token(node.id).value == "steps"
        and parser.variable("steps") is None
    )


def _step_in_brackets(parser: _Parser, node: ast.Subscript, key: str | None) -> Json:
    if key is not None and key.isidentifier():
        return parser.wrong(
            node, "PF215", "a step is named with a dot, not in brackets", f"write steps.{key}"
        )
    message = "a step is named with a dot, not in brackets"
    return parser.wrong(
        node,
        "PF215",
        message,
        "write steps.NAME; the name of a step has letters, digits and `_` only",
    )


def _root(parser: _Parser, base: ast.Name, name: str, chain: list[tuple[str, int]]) -> Json:
    token = parser.token(base.id)
    if name not in parser.roots:
        parser.findings.append(Finding(token.start, token.end, "PF214", *_unknown(parser, name)))
        return _WRONG
    end = chain[-1][1] if chain else token.end
    keys = [key for key, _ in chain]
    problem = (
        _steps_problem(keys) if name == "steps" else _run_problem(keys) if name == "run" else None
    )
    if problem:
        parser.findings.append(Finding(token.start, end, "PF215", *problem))
        return _WRONG
    path = ".".join([name, *keys])
    parser.references.append(Reference(path, token.start, end))
    return ["path", path]


def _unknown(parser: _Parser, name: str) -> tuple[str, str]:
    if name in _ELSEWHERE:
        return f"`{name}` {_ELSEWHERE[name]}", f"the names known here are {_listed(parser)}"
    if name in _CONSTANTS:
        return f"there is no name `{name}`", f"write {_CONSTANTS[name]}"
    known = sorted(parser.roots | {key for scope in parser.scopes for key in scope})
    close = get_close_matches(name, known, n=1)
    if close:
        return f"there is no name `{name}`", f"did you mean `{close[0]}`?"
    return (
        f"there is no name `{name}`",
        f'write "{name}" if it is a text; the names known here are {_listed(parser)}',
    )


def _listed(parser: _Parser) -> str:
    return ", ".join(sorted(parser.roots))


def _steps_problem(keys: list[str]) -> tuple[str, str] | None:
    if not keys:
        return "`steps` alone has no value", "write steps.NAME.output"
    if len(keys) == 1:
        return f"`steps.{keys[0]}` alone has no value", f"write steps.{keys[0]}.output"
    if keys[1] not in STEP_FIELDS:
        close = get_close_matches(keys[1], STEP_FIELDS, n=1)
        fix = (
            f"did you mean steps.{keys[0]}.{close[0]}?"
            if close
            else f"write steps.{keys[0]}.output.{keys[1]}"
        )
        return f"a step has no `{keys[1]}`; it has {', '.join(STEP_FIELDS)}", fix
    return None


def _run_problem(keys: list[str]) -> tuple[str, str] | None:
    if not keys:
        return "`run` alone has no value", "write run.id"
    if keys[0] not in RUN_FIELDS:
        close = get_close_matches(keys[0], RUN_FIELDS, n=1)
        fix = f"did you mean run.{close[0]}?" if close else f"write run.{RUN_FIELDS[0]}"
        return f"`run` has no `{keys[0]}`; it has {', '.join(RUN_FIELDS)}", fix
    return None
