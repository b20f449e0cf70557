"""Expression text → JSON tree, with every mistake found in one go.

Python's own parser gives the shape; only the nodes listed here pass, and nothing is ever executed:
`.name` is a key of JSON, never an attribute.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast

from pgflow_yaml.expressions.findings import Finding, InvalidExpression, Reference
from pgflow_yaml.expressions.functions import FUNCTIONS
from pgflow_yaml.expressions.lexer import CONSTANTS, Lexer, Token
from pgflow_yaml.expressions.repair import Repair, Source
from pgflow_yaml.model import Json

MAX_LENGTH = 1_000
MAX_DEPTH = 50
STEP_FIELDS = ("output", "status", "skip_reason", "error")
RUN_FIELDS = ("id", "flow", "version", "started_at", "scheduled_at", "labels")
_ELSEWHERE = {
    "item": "the `with` of a map step",
    "index": "the `with` of a map step",
}
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Mod: "%",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.And: "and",
    ast.Or: "or",
}
_METHODS = {
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
    "get": "default",
    "stringify": "to_json",
}
_LEFT_OUT: dict[type[ast.AST], tuple[str, str | None]] = {
    ast.SetComp: (
        "a set comprehension is not part of the expression language",
        "write it as a list: [ … ]",
    ),
    ast.DictComp: ("a dict comprehension is not part of the expression language", None),
    ast.GeneratorExp: ("a comprehension stands in square brackets", "put [ ] around it"),
    ast.Set: ("a set is not part of the expression language", "write a list: [a, b]"),
    ast.Tuple: ("a tuple is not part of the expression language", "write a list: [a, b]"),
    ast.Starred: ("`*` cannot spread a list here", "join lists with `+`, or with flatten([a, b])"),
}
_WRONG: Json = ["lit", None]


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression or template: its text, its tree, and the paths that it names."""

    text: str
    ast: Json
    references: tuple[Reference, ...]

    @property
    def paths(self) -> list[str]:
        """Each path once, sorted: what the environment has to hold."""
        return sorted({reference.path for reference in self.references})


def parse_text(
    text: str, *, roots: frozenset[str], offset: int = 0
) -> tuple[Json, list[Finding], list[Reference]]:
    """Parse a bare expression; `offset` is added to every place."""
    if len(text) > MAX_LENGTH:
        message = f"the expression has {len(text):,} characters, and {MAX_LENGTH:,} are allowed"
        return (
            _WRONG,
            [Finding(offset, offset + len(text), "PF220", message, "compute it in a step")],
            [],
        )
    lexer = Lexer(text)
    if not lexer.tokens and not lexer.findings:
        return (
            _WRONG,
            [
                Finding(
                    offset,
                    offset + len(text),
                    "PF219",
                    "the expression is empty",
                    "write one, such as input.name",
                )
            ],
            [],
        )
    repair = Repair(lexer)
    findings = lexer.findings + repair.findings
    parser = _Parser(repair, lexer, roots)
    tree = parser.tree(bool(findings))
    findings += parser.findings
    moved = [Finding(f.start + offset, f.end + offset, f.code, f.message, f.help) for f in findings]
    references = [Reference(r.path, r.start + offset, r.end + offset) for r in parser.references]
    return tree, moved, references


class _Parser:
    """Converts Python's tree, node by node, for the names in `roots`."""

    def __init__(self, repair: Repair, lexer: Lexer, roots: frozenset[str]) -> None:
        self.source: Source = repair.source
        self.tokens = lexer.tokens
        self.text = lexer.text
        self.roots = roots
        self.findings: list[Finding] = []
        self.references: list[Reference] = []
        self.scopes: list[dict[str, Json]] = []

    def tree(self, already_wrong: bool) -> Json:
        node = self.source.parse() if self.source.tokens else None
        if node is None:
            if not already_wrong:
                self._no_expression()
            return _WRONG
        return self.convert(node, 1)

    def _no_expression(self) -> None:
        if len(self.tokens) > MAX_DEPTH and self._deep():
            return
        start, end, message, fix = self._place_of_syntax_error()
        self.findings.append(Finding(start, end, "PF219", message, fix))

    def _deep(self) -> bool:
        # Python gives up on depth as on a mistake; a run of openers and signs tells the two apart.
        openers = [t for t in self.tokens if t.value in ("(", "[", "{", "-", "not")]
        if len(openers) > MAX_DEPTH:
            self.findings.append(self._too_deep(0, len(self.text)))
            return True
        return False

    def _place_of_syntax_error(self) -> tuple[int, int, str, str | None]:
        try:
            ast.parse(self.source.text, mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            column = (getattr(error, "offset", None) or 1) - 1
            token = self.source.token_at(column)
            if column >= len(self.source.text):
                last = self.source.tokens[-1]
                return (
                    last.start,
                    last.end,
                    "something is missing after this",
                    "complete the expression",
                )
            if "expected 'else'" in str(error):
                return (
                    token.start,
                    self._end_of(error),
                    "`if` needs its `else`",
                    "write `a if condition else b`",
                )
            return (
                token.start,
                token.end,
                "this does not fit here",
                "complete the expression before it",
            )
        return 0, len(self.text), "this is not an expression", None

    def _end_of(self, error: BaseException) -> int:
        column = (getattr(error, "end_offset", None) or 1) - 2
        return self.source.token_at(max(0, column)).end

    def wrong(self, node: ast.expr, code: str, message: str, fix: str | None = None) -> Json:
        """Record a finding under a node and give a tree that stands in for it."""
        self.findings.append(
            Finding(self.source.start(node), self.source.end(node), code, message, fix)
        )
        return _WRONG

    def _too_deep(self, start: int, end: int) -> Finding:
        message = f"the expression is nested deeper than {MAX_DEPTH} levels"
        return Finding(start, end, "PF220", message, "compute it in a step")

    def convert(self, node: ast.expr, depth: int) -> Json:
        if depth > MAX_DEPTH:
            if not any(finding.code == "PF220" for finding in self.findings):
                self.findings.append(self._too_deep(self.source.start(node), self.source.end(node)))
            return _WRONG
        converter = _CONVERTERS.get(type(node))
        if converter is not None:
            return converter(self, node, depth + 1)
        message, fix = _LEFT_OUT.get(
            type(node), ("this is not part of the expression language", None)
        )
        return self._left_out(node, depth, message, fix)

    def _left_out(self, node: ast.expr, depth: int, message: str, fix: str | None) -> Json:
        self.wrong(node, "PF216", message, fix)
        if isinstance(node, (ast.GeneratorExp, ast.SetComp)):
            self.comprehension(cast("ast.ListComp", node), depth + 1)
        elif isinstance(node, (ast.Set, ast.Tuple)):
            for part in node.elts:
                self.convert(part, depth + 1)
        elif isinstance(node, ast.Starred):
            self.convert(node.value, depth + 1)
        return _WRONG

    def token(self, placeholder: str) -> Token:
        return self.tokens[int(placeholder.lstrip("t"))]

    def constant(self, node: ast.Constant, _depth: int) -> Json:
        token = self.token(str(node.value))
        return ["lit", CONSTANTS[str(token.value)] if token.kind == "name" else token.value]

    def boolean(self, node: ast.BoolOp, depth: int) -> Json:
        return [_OPERATORS[type(node.op)], *(self.convert(part, depth) for part in node.values)]

    def unary(self, node: ast.UnaryOp, depth: int) -> Json:
        value = self.convert(node.operand, depth)
        if isinstance(node.op, ast.Not):
            return ["not", value]
        if isinstance(node.op, ast.UAdd):
            return self.wrong(
                node,
                "PF216",
                "`+` before a value is not part of the expression language",
                "leave it out",
            )
        if isinstance(value, list) and value[0] == "lit" and type(value[1]) in (int, float):
            return ["lit", -cast("float", value[1])]
        return ["neg", value]

    def binary(self, node: ast.BinOp, depth: int) -> Json:
        return [
            _OPERATORS[type(node.op)],
            self.convert(node.left, depth),
            self.convert(node.right, depth),
        ]

    def comparison(self, node: ast.Compare, depth: int) -> Json:
        parts = [self.convert(part, depth) for part in (node.left, *node.comparators)]
        pairs: list[Json] = [
            [_OPERATORS[type(op)], left, right]
            for op, left, right in zip(node.ops, parts, parts[1:], strict=False)
        ]
        return pairs[0] if len(pairs) == 1 else ["and", *pairs]

    def conditional(self, node: ast.IfExp, depth: int) -> Json:
        return [
            "if",
            self.convert(node.test, depth),
            self.convert(node.body, depth),
            self.convert(node.orelse, depth),
        ]

    def sequence(self, node: ast.List, depth: int) -> Json:
        return ["list", *(self.convert(part, depth) for part in node.elts)]

    def mapping(self, node: ast.Dict, depth: int) -> Json:
        made: list[Json] = ["dict"]
        for key, value in zip(node.keys, node.values, strict=True):
            made += [self._key(key, value), self.convert(value, depth)]
        return made

    def _key(self, key: ast.expr | None, value: ast.expr) -> Json:
        if key is None:
            self.wrong(value, "PF216", "`**` cannot spread an object here", "write merge(a, b)")
            return ""
        if isinstance(key, ast.Constant) and self.token(str(key.value)).kind == "text":
            return self.token(str(key.value)).value
        name = self.text[self.source.start(key) : self.source.end(key)]
        self.wrong(
            key,
            "PF216",
            "a key of an object is a text in quotes",
            f'write "{name}"' if isinstance(key, ast.Name) else None,
        )
        return ""

    def comprehension(self, node: ast.ListComp, depth: int) -> Json:
        scopes = len(self.scopes)
        loops = [self._loop(generator, depth) for generator in node.generators]
        made = self.convert(node.elt, depth + len(loops) - 1)
        del self.scopes[scopes:]
        for position, (name, iterable, condition) in enumerate(reversed(loops)):
            made = ["for", made, name, iterable, condition]
            if position:
                made = ["call", "flatten", made]
        return made

    def _loop(self, generator: ast.comprehension, depth: int) -> tuple[str, Json, Json]:
        iterable = self.convert(generator.iter, depth)
        name, scope = self._targets(generator.target)
        self.scopes.append(scope)
        conditions = [self.convert(test, depth) for test in generator.ifs]
        if not conditions:
            return name, iterable, None
        return name, iterable, conditions[0] if len(conditions) == 1 else ["and", *conditions]

    def _targets(self, target: ast.expr) -> tuple[str, dict[str, Json]]:
        if isinstance(target, ast.Name):
            name = str(self.token(target.id).value)
            return name, {name: ["var", name]}
        if isinstance(target, ast.Tuple) and all(
            isinstance(part, ast.Name) for part in target.elts
        ):
            names = [str(self.token(cast("ast.Name", part).id).value) for part in target.elts]
            joint = ",".join(names)
            return joint, {
                name: ["index", ["var", joint], ["lit", at]] for at, name in enumerate(names)
            }
        self.wrong(
            target, "PF216", "a comprehension needs a plain name after `for`", "write `for x in …`"
        )
        return "", {}

    def variable(self, name: str) -> Json:
        """Give the tree of a loop variable, innermost first; `None` if there is none."""
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def path(self, node: ast.expr, depth: int) -> Json:
        """Convert a name, or a name with keys behind it."""
        from pgflow_yaml.expressions.paths import convert_path

        return convert_path(self, node, depth)

    def call(self, node: ast.Call, depth: int) -> Json:
        for keyword in node.keywords:
            self.findings.append(self._keyword(keyword))
        args = [self.convert(part, depth) for part in node.args]
        if isinstance(node.func, ast.Attribute):
            return self._method(node.func, depth)
        if not isinstance(node.func, ast.Name):
            return self.wrong(node, "PF213", "only a function can be called", None)
        name = str(self.token(node.func.id).value)
        function = FUNCTIONS.get(name)
        if function is None:
            return self.wrong(
                node.func, "PF213", f"there is no function {name}()", _function_fix(name)
            )
        if not function.least <= len(args) <= function.most and not node.keywords:
            return self.wrong(
                node,
                "PF221",
                f"{name}() does not take {len(args)} arguments",
                f"write {function.usage}",
            )
        return ["call", name, *args]

    def _keyword(self, keyword: ast.keyword) -> Finding:
        start = self.source.token_at(keyword.col_offset).start
        end = self.source.token_at((keyword.end_col_offset or 1) - 1).end
        return Finding(start, end, "PF216", "arguments have no names here", "write the value alone")

    def _method(self, function: ast.Attribute, depth: int) -> Json:
        name = str(self.token(function.attr).value)
        owner = self.text[self.source.start(function) : self.source.end(function.value)]
        known = _METHODS.get(name, name)
        if known == "in":
            fix: str | None = f"write part in {owner}"
        elif known in FUNCTIONS:
            usage = FUNCTIONS[known].usage.partition(" or ")[0]
            head, _, rest = usage.partition("(")
            tail = rest.partition(",")[2] if "," in rest else ")"
            fix = f"write {head}({owner}{',' if tail != ')' else ''}{tail}, not {owner}.{name}()"
        else:
            fix = f"functions stand before their arguments: {', '.join(FUNCTIONS)}"
        self.convert(function.value, depth)
        start = self.token(function.attr).start
        self.findings.append(
            Finding(
                start,
                self.token(function.attr).end,
                "PF212",
                f"`.{name}()` is a method, and JSON values have none",
                fix,
            )
        )
        return _WRONG


def _function_fix(name: str) -> str:
    close = get_close_matches(name, FUNCTIONS, n=1)
    if name in _METHODS and _METHODS[name] in FUNCTIONS:
        close = [_METHODS[name]]
    if close:
        return f"did you mean {close[0]}()?"
    return f"the functions are {', '.join(FUNCTIONS)}"


_Converter = Callable[[_Parser, "ast.expr", int], Json]
_CONVERTERS = cast(
    "dict[type[ast.AST], _Converter]",
    {
        ast.Constant: _Parser.constant,
        ast.BoolOp: _Parser.boolean,
        ast.UnaryOp: _Parser.unary,
        ast.BinOp: _Parser.binary,
        ast.Compare: _Parser.comparison,
        ast.IfExp: _Parser.conditional,
        ast.List: _Parser.sequence,
        ast.Dict: _Parser.mapping,
        ast.ListComp: _Parser.comprehension,
        ast.Call: _Parser.call,
        ast.Name: _Parser.path,
        ast.Attribute: _Parser.path,
        ast.Subscript: _Parser.path,
    },
)
