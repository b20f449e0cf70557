"""Convert the names in an expression: paths of the environment, keys, indexes, functions."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from pgflow_yaml.language.expressions.findings import Finding, Reference
from pgflow_yaml.language.expressions.functions import FUNCTIONS
from pgflow_yaml.language.suggestions import closest

if TYPE_CHECKING:
    from pgflow_yaml.language.expressions.parser import Parser
    from pgflow_yaml.language.model import Json

STEP_FIELDS = ("output", "status", "skip_reason", "error", "errors")
_ROOTS_SHOWN = ("input", "steps", "run", "item", "index")
_CONSTANTS = {"TRUE": "true", "FALSE": "false", "NULL": "null", "nil": "null", "undefined": "null"}
_WRONG: Json = ["lit", None]
# The names of our functions in other languages; `in` is an operator.
_OTHER_NAMES = {
    "length": "len",
    "size": "len",
    "count": "len",
    "toLowerCase": "lower",
    "toUpperCase": "upper",
    "trim": "strip",
    "includes": "in",
    "contains": "in",
    "startsWith": "startswith",
    "endsWith": "endswith",
    "string": "str",
    "number": "float",
    "coalesce": "default",
    "sort": "sorted",
    "fromJSON": "json",
    "toJSON": "to_json",
}


def convert_path(parser: Parser, node: ast.expr, depth: int) -> Json:
    """Return the tree of a name, `.key` or `[index]`; a root name and its keys become one path."""
    if isinstance(node, ast.Subscript):
        return _subscript(parser, node, depth)
    keys: list[tuple[str, int]] = []
    while isinstance(node, ast.Attribute):
        token = parser.token(node.attr)
        keys.insert(0, (str(token.value), token.end))
        node = node.value
    if isinstance(node, ast.Name):
        tree = parser.variable(str(parser.token(node.id).value))
        if tree is None:
            return _root(parser, node, keys)
    else:
        tree = parser.convert(node, depth)
    for key, _ in keys:
        tree = ["get", tree, key]
    return tree


def _subscript(parser: Parser, node: ast.Subscript, depth: int) -> Json:
    key = parser.text_at(node.slice)
    if _is_steps(parser, node.value):
        known = key is not None and key.isidentifier()
        fix = f"write steps.{key}" if known else "a step's name has letters, digits and `_` only"
        return parser.wrong(node, "PF215", "a step is named with a dot: steps.NAME", fix=fix)
    tree = parser.convert(node.value, depth)
    if isinstance(node.slice, ast.Slice):
        fix = "take single items, or cut the list with chunk(list, size)"
        return parser.wrong(node, "PF216", "there are no slices", fix=fix)
    if key is not None:
        return ["get", tree, key]
    return ["index", tree, parser.convert(node.slice, depth)]


def _is_steps(parser: Parser, node: ast.expr) -> bool:
    if not isinstance(node, ast.Name) or parser.token(node.id).value != "steps":
        return False
    return "steps" in parser.roots and parser.variable("steps") is None


def _root(parser: Parser, node: ast.Name, chain: list[tuple[str, int]]) -> Json:
    """Return the tree of a root name and its keys; report a name that has no value."""
    token = parser.token(node.id)
    name = str(token.value)
    if name not in parser.roots:
        message = f"there is no name `{name}`"
        fix = _name_fix(parser, name)
        parser.findings.append(Finding(token.start, token.end, "PF214", message, fix))
        return _WRONG
    keys = [key for key, _ in chain]
    end = chain[-1][1] if chain else token.end
    problem = _incomplete(name, keys)
    if problem is not None:
        message, fix, words = problem
        end = chain[words - 2][1] if words > 1 else token.end
        parser.findings.append(Finding(token.start, end, "PF215", message, fix))
        return _WRONG
    path = ".".join([name, *keys])
    parser.references.append(Reference(path, token.start, end))
    return ["path", path]


def _name_fix(parser: Parser, name: str) -> str:
    shown = [root for root in _ROOTS_SHOWN if root in parser.roots]
    if name in _CONSTANTS:
        return f"write {_CONSTANTS[name]}"
    if name in FUNCTIONS:
        return f"a function is called: {FUNCTIONS[name].usage}"
    known = [*shown, *(variable for scope in parser.scopes for variable in scope)]
    close = closest(name, known)
    if close is not None:
        return f"did you mean `{close}`?"
    return f'write "{name}" if it is a text; the names known here are {", ".join(known)}'


def _incomplete(name: str, keys: list[str]) -> tuple[str, str, int] | None:
    """Return message, fix and number of words to mark where keys are missing, else None."""
    if name == "run" and not keys:
        return "`run` alone has no value", "write run.id", 1
    if name == "secrets" and len(keys) != 1:
        message = (
            "`secrets` alone has no value" if not keys else "a secret is one text, without keys"
        )
        return message, f"write secrets.{keys[0] if keys else 'NAME'}", max(1, len(keys))
    if name != "steps" or (len(keys) > 1 and keys[1] in STEP_FIELDS):
        return None
    if not keys:
        return "`steps` alone has no value", "write steps.NAME.output", 1
    step = f"steps.{keys[0]}"
    if len(keys) == 1:
        return f"`{step}` alone has no value", f"write {step}.output", 2
    message = f"a step has no `{keys[1]}`; it has {', '.join(STEP_FIELDS)}"
    close = closest(keys[1], STEP_FIELDS)
    fix = f"did you mean {step}.{close}?" if close else f"write {step}.output.{keys[1]}"
    return message, fix, 3


def convert_call(parser: Parser, node: ast.Call, depth: int) -> Json:
    """Return the tree of a function call."""
    for keyword in node.keywords:
        parser.findings.append(_keyword(parser, keyword))
        parser.convert(keyword.value, depth)
    args = [parser.convert(part, depth) for part in node.args]
    if isinstance(node.func, ast.Attribute):
        parser.convert(node.func.value, depth)
        return _method(parser, node.func)
    if not isinstance(node.func, ast.Name):
        parser.convert(node.func, depth)
        fix = "write an operator before the bracket"
        return parser.wrong(node.func, "PF213", "only a function can be called", fix=fix)
    name = str(parser.token(node.func.id).value)
    function = FUNCTIONS.get(name)
    if function is None:
        message = f"there is no function {name}()"
        return parser.wrong(node.func, "PF213", message, fix=_function_fix(name))
    if node.keywords:
        return _WRONG
    if not function.least <= len(args) <= function.most:
        message = f"{name}() does not take {_counted(len(args))}"
        return parser.wrong(node, "PF221", message, fix=f"write {function.usage}")
    return ["call", name, *args]


def _counted(count: int) -> str:
    return "1 argument" if count == 1 else f"{count} arguments"


def _function_fix(name: str) -> str:
    other = _OTHER_NAMES.get(name, "")
    if other == "in":
        return "write `part in whole`"
    close = other or closest(name, FUNCTIONS)
    if close:
        return f"did you mean {close}()?"
    return f"the functions are {', '.join(FUNCTIONS)}"


def _keyword(parser: Parser, keyword: ast.keyword) -> Finding:
    start = parser.source.token_at(keyword.col_offset).start
    end = parser.source.token_at((keyword.end_col_offset or 1) - 1).end
    if keyword.arg is None:
        return Finding(start, end, "PF216", "`**` cannot spread an object here", "leave it out")
    return Finding(start, end, "PF216", "arguments have no names here", "write the value alone")


def _method(parser: Parser, function: ast.Attribute) -> Json:
    token = parser.token(function.attr)
    name = str(token.value)
    owner = parser.text[parser.source.start(function) : parser.source.end(function.value)]
    message = f"`.{name}()` is a method, and JSON values have none"
    fix = _method_fix(name, owner)
    parser.findings.append(Finding(token.start, token.end, "PF212", message, fix))
    return _WRONG


def _method_fix(name: str, owner: str) -> str:
    known = _OTHER_NAMES.get(name, name)
    if known == "in":
        return f"write `part in {owner}`"
    if name == "get":
        return f'write {owner}["key"]; a missing key is null, and default(value, b) replaces null'
    if name == "format":
        return "join texts with `+`, or write a template: text ${{ value }} text"
    if name == "join":
        return f"write join(list, {owner}), not {owner}.join(list)"
    if known not in FUNCTIONS:
        return f"functions stand before their arguments: {', '.join(FUNCTIONS)}"
    inside = FUNCTIONS[known].usage.partition("(")[2].partition(")")[0]
    others = inside.partition(",")[2]
    arguments = f"{owner},{others}" if others else owner
    return f"write {known}({arguments}), not {owner}.{name}()"
