"""Convert the names in an expression: paths of the environment, keys, indexes, functions."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, cast

from pgflow_yaml.language import vocabulary
from pgflow_yaml.language.expressions.findings import Edit, Finding, Reference
from pgflow_yaml.language.expressions.functions import FUNCTIONS
from pgflow_yaml.language.suggestions import closest, slug

if TYPE_CHECKING:
    from pgflow_yaml.language.expressions.lexer import Token
    from pgflow_yaml.language.expressions.parser import Parser
    from pgflow_yaml.language.model import Json

STEP_FIELDS = ("output", "status", "skip_reason", "error", "errors")
_ROOTS_SHOWN = ("input", "steps", "run", "item", "index")
_CONSTANTS = {"TRUE": "true", "FALSE": "false", "NULL": "null", "nil": "null", "undefined": "null"}
_WRONG: Json = ["lit", None]
_OF_THE_AUTHOR = ("steps", "input", "secrets")
"""The roots whose keys an author names."""


def convert_path(parser: Parser, node: ast.expr, depth: int) -> Json:
    """Return the tree of a name, `.key` or `[index]`; a root name and its keys become one path."""
    if isinstance(node, ast.Subscript):
        return _subscript(parser, node, depth)
    keys: list[Token] = []
    while isinstance(node, ast.Attribute):
        keys.insert(0, parser.token(node.attr))
        node = node.value
    root = str(parser.token(node.id).value) if isinstance(node, ast.Name) else ""
    tree = parser.variable(root) if root else parser.convert(node, depth)
    if any(key.value == "*" for key in keys):  # reported already
        return _WRONG
    wrong = next((k for k in keys if k.kind == "key" and not str(k.value).isidentifier()), None)
    if wrong is not None and (tree is not None or root in parser.roots):
        named = root in _OF_THE_AUTHOR and wrong is keys[0]
        _misspelt(parser, parser.source.start(node), wrong, root=root if named else None)
        return _WRONG
    if tree is None:
        return _root(parser, parser.token(cast("ast.Name", node).id), keys)
    for key in keys:
        tree = ["get", tree, str(key.value)]
    return tree


def _misspelt(parser: Parser, start: int, key: Token, *, root: str | None) -> None:
    """Report a key that is no name: `order-id`, `1_each`; `root` is set if an author names it."""
    word = str(key.value)
    before = parser.text[start : key.start]
    reason = "`-` subtracts" if "-" in word else "a name begins with a letter"
    if root is None:
        message = f"`.{word}` is no key: {reason}"
        edit = Edit(start, key.end, f'{before.rstrip(".? ")}["{word}"]')
        _report(parser, (start, key.end), "PF215", (message, f"write {edit.text}"), edit=edit)
        return
    where = {
        "steps": "here and as the name of the step",
        "input": "here and under `input`",
        "secrets": "and give the secret this name",
    }[root]
    noun = "step" if root == "steps" else "field" if root == "input" else "secret"
    message = f"`{word}` cannot name a {noun}: {reason}"
    edit = Edit(start, key.end, before + slug(word))
    _report(parser, (start, key.end), "PF215", (message, f"write {edit.text}, {where}"), edit=edit)


def _report(
    parser: Parser,
    span: tuple[int, int],
    code: str,
    words: tuple[str, str],
    *,
    edit: Edit | None = None,
) -> Json:
    """Report a finding, its message and help in `words`, and return a placeholder for its tree."""
    parser.findings.append(Finding(*span, code, *words, edit))
    return _WRONG


def _subscript(parser: Parser, node: ast.Subscript, depth: int) -> Json:
    key = parser.text_at(node.slice)
    owner = _of_named_keys(parser, node.value)
    if owner is not None:
        return _named_key(parser, node, owner, key)
    tree = parser.convert(node.value, depth)
    if isinstance(node.slice, ast.Slice):
        fix = "take single items, or cut the list with chunk(list, size)"
        return parser.wrong(node, "PF216", "there are no slices", fix=fix)
    if key is not None:
        if isinstance(tree, list) and tree[0] == "path" and key and "." not in key:
            span = (parser.source.start(node), parser.source.end(node))
            parser.references.append(Reference(f"{tree[1]}.{key}", *span, read=False))
        return ["get", tree, key]
    return ["index", tree, parser.convert(node.slice, depth)]


def _named_key(parser: Parser, node: ast.Subscript, owner: str, key: str | None) -> Json:
    """Report an index of `run`, `secrets`, `steps` or of a step."""
    span = (parser.source.start(node), parser.source.end(node))
    index = parser.text[parser.source.end(node.value) : span[1]].strip()
    ours = f"{owner}.NAME"
    if key is not None:
        known = key.isascii() and key.isidentifier()
        ours = f"{owner}.{key if known else slug(key) or 'NAME'}"
    elif "." in owner:
        ours = f"{owner}.output{index}"
    edit = None if ours.endswith(".NAME") else Edit(*span, ours)
    words = (f"a key of `{owner}` stands behind a dot", f"write {ours}")
    return _report(parser, span, "PF215", words, edit=edit)


def _of_named_keys(parser: Parser, node: ast.expr) -> str | None:
    """Return `run`, `secrets`, `steps` or `steps.NAME`, of which all keys are names; or None."""
    key = ""
    if isinstance(node, ast.Attribute):
        key, node = f".{parser.token(node.attr).value}", node.value
    root = str(parser.token(node.id).value) if isinstance(node, ast.Name) else ""
    if root not in (("steps",) if key else ("run", "secrets", "steps")):
        return None
    return f"{root}{key}" if root in parser.roots and parser.variable(root) is None else None


def _root(parser: Parser, token: Token, chain: list[Token]) -> Json:
    """Return the tree of a root name and its keys; report a name that has no value."""
    name = str(token.value)
    keys = [str(key.value) for key in chain]
    ends = [token.end, *(key.end for key in chain)]
    if name not in parser.roots:
        return _unknown(parser, token, [name, *keys], ends)
    problem = _incomplete(name, keys)
    if problem is not None:
        message, ours, words, near = problem
        fix = f"did you mean {ours}?" if near else f"write {ours}"
        span = (token.start, ends[words - 1])
        if " " in ours:
            return _report(parser, span, "PF215", (message, ours))
        edit = None if "NAME" in ours else Edit(*span, ours)
        return _report(parser, span, "PF215", (message, fix), edit=edit)
    path = ".".join([name, *keys])
    parser.references.append(Reference(path, token.start, ends[-1]))
    return ["path", path]


def _unknown(parser: Parser, token: Token, words: list[str], ends: list[int]) -> Json:
    """Report a path whose root is unknown, with ours if it is one of another tool."""
    message = f"there is no name `{words[0]}`"
    if words[0] in _CONSTANTS:
        ours, count = _CONSTANTS[words[0]], 1
    elif words[0] in FUNCTIONS:
        fix = f"a function is called: {FUNCTIONS[words[0]].usage}"
        return _report(parser, (token.start, token.end), "PF214", (message, fix))
    elif (foreign := vocabulary.foreign_path(words)) is not None:
        count, ours = foreign
        if " " not in ours:
            count, ours = len(words), ".".join([ours, *words[count:]])
    else:
        return _no_name(parser, token, message, alone=len(words) == 1)
    span = (token.start, ends[count - 1])
    if " " in ours:
        return _report(parser, span, "PF214", (message, ours))
    return _report(parser, span, "PF214", (message, f"write {ours}"), edit=Edit(*span, ours))


def _no_name(parser: Parser, token: Token, message: str, *, alone: bool) -> Json:
    name, span = str(token.value), (token.start, token.end)
    shown = [root for root in _ROOTS_SHOWN if root in parser.roots]
    known = [*shown, *(variable for scope in parser.scopes for variable in scope)]
    close = closest(name, known)
    if close is not None:
        words = (message, f"did you mean `{close}`?")
        return _report(parser, span, "PF214", words, edit=Edit(*span, close))
    fix = f"the names known here are {', '.join(known)}"
    if alone:
        fix = f'write "{name}" if it is a text; {fix}'
    return _report(parser, span, "PF214", (message, fix))


def _incomplete(name: str, keys: list[str]) -> tuple[str, str, int, bool] | None:
    """Return what to say where keys are missing, else None.

    That is the message, the path to write, the number of words to mark, and true for a typo.
    """
    if name == "run" and not keys:
        return "`run` alone has no value", "run.id", 1, False
    if name == "secrets" and len(keys) != 1:
        message = (
            "`secrets` alone has no value" if not keys else "a secret is one text, without keys"
        )
        return message, f"secrets.{keys[0] if keys else 'NAME'}", max(1, len(keys) + 1), False
    if name != "steps" or (len(keys) > 1 and keys[1] in STEP_FIELDS):
        return None
    if not keys:
        return "`steps` alone has no value", "steps.NAME.output", 1, False
    step = f"steps.{keys[0]}"
    if len(keys) == 1:
        return f"`{step}` alone has no value", f"{step}.output", 2, False
    message = f"a step has no `{keys[1]}`; it has {', '.join(STEP_FIELDS)}"
    if (foreign := vocabulary.foreign_path([name, *keys])) is not None:
        return message, foreign[1].replace("NAME", keys[0]), foreign[0], False
    if keys[2:3] and keys[2] in STEP_FIELDS:
        return message, "steps.NAME.output: a step's name has no dot", 3, False
    close = closest(keys[1], STEP_FIELDS)
    return message, f"{step}.{close or f'output.{keys[1]}'}", 3, close is not None


def convert_call(parser: Parser, node: ast.Call, depth: int) -> Json:
    """Return the tree of a function call."""
    for keyword in node.keywords:
        parser.findings.append(_keyword(parser, keyword))
        parser.convert(keyword.value, depth)
    args = [parser.convert(part, depth) for part in node.args]
    if isinstance(node.func, ast.Attribute):
        parser.convert(node.func.value, depth)
        return _method(parser, node, node.func)
    if not isinstance(node.func, ast.Name):
        parser.convert(node.func, depth)
        fix = "write an operator before the bracket"
        return parser.wrong(node.func, "PF213", "only a function can be called", fix=fix)
    name = str(parser.token(node.func.id).value)
    function = FUNCTIONS.get(name)
    if function is None:
        return _no_function(parser, parser.token(node.func.id))
    if node.keywords:
        return _WRONG
    if not function.least <= len(args) <= function.most:
        message = f"{name}() does not take {_counted(len(args))}"
        return parser.wrong(node, "PF221", message, fix=f"write {function.usage}")
    return ["call", name, *args]


def _counted(count: int) -> str:
    return "1 argument" if count == 1 else f"{count} arguments"


def _no_function(parser: Parser, token: Token) -> Json:
    name, span = str(token.value), (token.start, token.end)
    message = f"there is no function {name}()"
    other = vocabulary.foreign_function(name)
    if other == "in":
        return _report(parser, span, "PF213", (message, "write `part in whole`"))
    if other is not None and " " in other:
        return _report(parser, span, "PF213", (message, other))
    close = other or closest(name, FUNCTIONS)
    if close:
        words = (message, f"did you mean {close}()?")
        return _report(parser, span, "PF213", words, edit=Edit(*span, close))
    return _report(parser, span, "PF213", (message, f"the functions are {', '.join(FUNCTIONS)}"))


def _keyword(parser: Parser, keyword: ast.keyword) -> Finding:
    start = parser.source.token_at(keyword.col_offset).start
    end = parser.source.token_at((keyword.end_col_offset or 1) - 1).end
    if keyword.arg is None:
        return Finding(start, end, "PF216", "`**` cannot spread an object here", "leave it out")
    return Finding(start, end, "PF216", "arguments have no names here", "write the value alone")


def _method(parser: Parser, node: ast.Call, function: ast.Attribute) -> Json:
    token = parser.token(function.attr)
    name = str(token.value)
    owner = parser.text[parser.source.start(function) : parser.source.end(function.value)]
    message = f"`.{name}()` is a method, and JSON values have none"
    edit = None
    known = vocabulary.foreign_function(name) or name
    if known in FUNCTIONS and not node.args and FUNCTIONS[known].least == 1:
        edit = Edit(parser.source.start(node), parser.source.end(node), f"{known}({owner})")
    words = (message, _method_fix(name, owner))
    return _report(parser, (token.start, token.end), "PF212", words, edit=edit)


def _method_fix(name: str, owner: str) -> str:
    known = vocabulary.foreign_function(name) or name
    if known == "in":
        return f"write `part in {owner}`"
    if name == "get":
        return f'write {owner}["key"]; a missing key is null, and default(value, b) replaces null'
    if name == "join":
        return f"write join(list, {owner}), not {owner}.join(list)"
    if " " in known:
        return known
    if known not in FUNCTIONS:
        return f"functions stand before their arguments: {', '.join(FUNCTIONS)}"
    inside = FUNCTIONS[known].usage.partition("(")[2].partition(")")[0]
    others = inside.partition(",")[2]
    arguments = f"{owner},{others}" if others else owner
    return f"write {known}({arguments}), not {owner}.{name}()"
