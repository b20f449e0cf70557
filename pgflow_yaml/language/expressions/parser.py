"""Parse the text of an expression into a JSON tree, and find every mistake in one pass.

Python's own parser builds the syntax tree. Only the nodes listed here are converted, and nothing is
executed: `.name` is a key of JSON, never an attribute.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pgflow_yaml.language.expressions.findings import Comparison, Finding, Reference
from pgflow_yaml.language.expressions.lexer import CONSTANTS, Lexer, Token
from pgflow_yaml.language.expressions.names import convert_call, convert_path
from pgflow_yaml.language.expressions.repair import Repair

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

MAX_LENGTH = 1_000
MAX_DEPTH = 50
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
_LEFT_OUT: dict[type[ast.AST], tuple[str, str]] = {
    ast.SetComp: ("there are no sets in JSON", "write a list: [ … ]"),
    ast.Set: ("there are no sets in JSON", "write a list: [a, b]"),
    ast.Tuple: ("there are no tuples in JSON", "write a list: [a, b]"),
    ast.DictComp: ("an object cannot be made by a loop", "write its keys, or compute it in a step"),
    ast.GeneratorExp: ("a comprehension stands in square brackets", "put [ ] around it"),
    ast.Starred: ("`*` cannot spread a list here", "join lists with `+`"),
}
_WRONG: Json = ["lit", None]


@dataclass(frozen=True, slots=True)
class Expression:
    """Checked expression or template: its text, its tree and the paths that it reads."""

    text: str
    ast: Json
    references: tuple[Reference, ...]
    comparisons: tuple[Comparison, ...] = ()

    @property
    def paths(self) -> list[str]:
        """The paths that the environment must have, sorted."""
        return sorted({reference.path for reference in self.references if reference.read})


@dataclass(frozen=True, slots=True)
class Parsed:
    """Result of parsing a text, valid or not."""

    ast: Json
    findings: list[Finding]
    references: list[Reference]
    comparisons: list[Comparison] = field(default_factory=list)


def parse_text(text: str, *, roots: frozenset[str], offset: int = 0) -> Parsed:
    """Parse an expression without `${{ }}`; `offset` is added to every offset in the result."""
    if len(text) > MAX_LENGTH:
        message = f"the expression has {len(text):,} characters, and {MAX_LENGTH:,} are allowed"
        finding = Finding(offset, offset + len(text), "PF220", message, "compute it in a step")
        return Parsed(_WRONG, [finding], [])
    lexer = Lexer(text, roots=roots)
    if not lexer.tokens and not lexer.findings:
        finding = Finding(
            offset, offset + len(text), "PF219", "the expression is empty", "write one: input.name"
        )
        return Parsed(_WRONG, [finding], [])
    repair = Repair(lexer)
    findings = lexer.findings + repair.findings
    parser = Parser(repair, lexer, roots)
    tree = parser.tree(wrong=bool(findings))
    return Parsed(
        tree,
        [finding.moved(offset) for finding in findings + parser.findings],
        [
            replace(reference, start=reference.start + offset, end=reference.end + offset)
            for reference in parser.references
        ],
        [
            replace(comparison, start=comparison.start + offset, end=comparison.end + offset)
            for comparison in parser.comparisons
        ],
    )


class Parser:
    """Converter of Python's syntax tree; `roots` are the names that paths may begin with."""

    def __init__(self, repair: Repair, lexer: Lexer, roots: frozenset[str]) -> None:
        """Store the input; `tree` converts it."""
        self.source = repair.source
        self.tokens = lexer.tokens
        self.text = lexer.text
        self.roots = roots
        self.findings: list[Finding] = []
        self.references: list[Reference] = []
        self.comparisons: list[Comparison] = []
        self.scopes: list[dict[str, Json]] = []

    def tree(self, *, wrong: bool) -> Json:
        """Return the whole tree; report text that Python cannot parse, unless `wrong` already."""
        if not self.source.tokens:
            return _WRONG
        node = self.source.parse()
        if isinstance(node, ast.expr):
            return self.convert(node, 1)
        if not wrong:
            self.findings.append(self._no_expression(node))
        return _WRONG

    def _no_expression(self, error: Exception) -> Finding:
        # Python reports excessive depth as a syntax error; a run of openers and signs reveals it.
        openers = [token for token in self.tokens if token.value in ("(", "[", "{", "-", "not")]
        if len(openers) > MAX_DEPTH:
            return _too_deep(0, len(self.text))
        start, end, message = 0, len(self.text), "this is not an expression"
        fix = "complete the expression"
        if isinstance(error, SyntaxError):
            column = (error.offset or 0) - 1
            token = self.source.token_at(column)
            if column < 0:
                last = self.source.tokens[-1]
                start, end, message = last.start, last.end, "something is missing after this"
            elif "expected 'else'" in error.msg:
                end = self.source.token_at((error.end_offset or 2) - 2).end
                start, message, fix = token.start, "`if` needs its `else`", "write `a if c else b`"
            else:
                start, end, message = token.start, token.end, "this does not fit here"
        return Finding(start, end, "PF219", message, fix)

    def wrong(self, node: ast.expr, code: str, message: str, *, fix: str) -> Json:
        """Report a finding at a node and return a placeholder for its tree."""
        start, end = self.source.start(node), self.source.end(node)
        self.findings.append(Finding(start, end, code, message, fix))
        return _WRONG

    def convert(self, node: ast.expr, depth: int) -> Json:
        """Return the tree of a node and of the nodes below it."""
        if depth > MAX_DEPTH:
            if not any(finding.code == "PF220" for finding in self.findings):
                self.findings.append(_too_deep(self.source.start(node), self.source.end(node)))
            return _WRONG
        converter = self._converters.get(type(node))
        if converter is not None:
            return cast("Json", converter(self, node, depth + 1))
        return self._left_out(node, depth)

    def _left_out(self, node: ast.expr, depth: int) -> Json:
        """Report syntax that is not part of the language, and the mistakes inside it."""
        message, fix = _LEFT_OUT.get(
            type(node), ("this is not part of the expression language", "leave it out")
        )
        if isinstance(node, ast.Set) and isinstance(node.elts[0], ast.Set):
            message, fix = "braces make an object, not a template", "leave out the `{{ }}`"
            return self.wrong(node, "PF216", message, fix=fix)
        self.wrong(node, "PF216", message, fix=fix)
        if isinstance(node, ast.GeneratorExp | ast.SetComp):
            self._comprehension(cast("ast.ListComp", node), depth + 1)
        elif isinstance(node, ast.Set | ast.Tuple):
            for part in node.elts:
                self.convert(part, depth + 1)
        elif isinstance(node, ast.Starred):
            self.convert(node.value, depth + 1)
        return _WRONG

    def token(self, placeholder: object) -> Token:
        """Return the token of a placeholder in the repaired text."""
        return self.tokens[int(str(placeholder).lstrip("t"))]

    def text_at(self, node: ast.expr | None) -> str | None:
        """Return the value of a text literal; None for any other node."""
        if isinstance(node, ast.Constant) and self.token(node.value).kind == "text":
            return str(self.token(node.value).value)
        return None

    def variable(self, name: str) -> Json:
        """Return the tree of a loop variable of the innermost loop that has it, else None."""
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def _constant(self, node: ast.Constant, _depth: int) -> Json:
        token = self.token(node.value)
        return ["lit", CONSTANTS[str(token.value)] if token.kind == "name" else token.value]

    def _boolean(self, node: ast.BoolOp, depth: int) -> Json:
        return [_OPERATORS[type(node.op)], *(self.convert(part, depth) for part in node.values)]

    def _unary(self, node: ast.UnaryOp, depth: int) -> Json:
        value = self.convert(node.operand, depth)
        if isinstance(node.op, ast.Not):
            return ["not", value]
        if isinstance(node.op, ast.UAdd):
            return self.wrong(node, "PF216", "`+` stands between two values", fix="leave it out")
        if isinstance(value, list) and value[0] == "lit" and type(value[1]) in (int, float):
            return ["lit", -cast("float", value[1])]
        return ["neg", value]

    def _binary(self, node: ast.BinOp, depth: int) -> Json:
        left, right = self.convert(node.left, depth), self.convert(node.right, depth)
        return [_OPERATORS[type(node.op)], left, right]

    def _comparison(self, node: ast.Compare, depth: int) -> Json:
        nodes = (node.left, *node.comparators)
        parts = [self.convert(part, depth) for part in nodes]
        pairs: list[Json] = []
        for at, op in enumerate(node.ops):
            symbol, left, right = _compared(_OPERATORS[type(op)], parts[at], parts[at + 1])
            start, end = self.source.start(nodes[at]), self.source.end(nodes[at + 1])
            self.comparisons.append(Comparison(symbol, left, right, start, end))
            pairs.append([symbol, left, right])
        return pairs[0] if len(pairs) == 1 else ["and", *pairs]

    def _conditional(self, node: ast.IfExp, depth: int) -> Json:
        return ["if", *(self.convert(part, depth) for part in (node.test, node.body, node.orelse))]

    def _list(self, node: ast.List, depth: int) -> Json:
        return ["list", *(self.convert(part, depth) for part in node.elts)]

    def _dict(self, node: ast.Dict, depth: int) -> Json:
        tree: list[Json] = ["dict"]
        for key, value in zip(node.keys, node.values, strict=True):
            tree += [self._key(key, value), self.convert(value, depth)]
        return tree

    def _key(self, key: ast.expr | None, value: ast.expr) -> Json:
        if (text := self.text_at(key)) is not None:
            return text
        if key is None:
            message = "`**` cannot spread an object here"
            return self.wrong(value, "PF216", message, fix="write merge(a, b)")
        name = self.text[self.source.start(key) : self.source.end(key)]
        fix = f'write "{name}"' if isinstance(key, ast.Name) else "compute it in a step"
        return self.wrong(key, "PF216", "a key of an object is a text in quotes", fix=fix)

    def _comprehension(self, node: ast.ListComp, depth: int) -> Json:
        scopes = len(self.scopes)
        loops = [self._loop(generator, depth) for generator in node.generators]
        tree = self.convert(node.elt, depth + len(loops) - 1)
        del self.scopes[scopes:]
        for position, (name, iterable, condition) in enumerate(reversed(loops)):
            tree = ["for", tree, name, iterable, condition]
            if position:
                tree = ["call", "flatten", tree]
        return tree

    def _loop(self, generator: ast.comprehension, depth: int) -> tuple[str, Json, Json]:
        iterable = self.convert(generator.iter, depth)
        name, scope = self._targets(generator.target)
        self.scopes.append(scope)
        conditions = [self.convert(test, depth) for test in generator.ifs]
        if not conditions:
            return name, iterable, None
        return name, iterable, conditions[0] if len(conditions) == 1 else ["and", *conditions]

    def _targets(self, target: ast.expr) -> tuple[str, dict[str, Json]]:
        """Return the loop variable, and the tree of each name: `for key, value in …` has two."""
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        names = [str(self.token(part.id).value) for part in parts if isinstance(part, ast.Name)]
        if len(names) != len(parts):
            message = "a comprehension needs a plain name after `for`"
            self.wrong(target, "PF216", message, fix="write `for x in …`")
        joint = ",".join(names)
        if not isinstance(target, ast.Tuple):
            return joint, {joint: ["var", joint]}
        return joint, {
            name: ["index", ["var", joint], ["lit", at]] for at, name in enumerate(names)
        }

    _converters: ClassVar[dict[type[ast.AST], Any]] = {
        ast.Constant: _constant,
        ast.BoolOp: _boolean,
        ast.UnaryOp: _unary,
        ast.BinOp: _binary,
        ast.Compare: _comparison,
        ast.IfExp: _conditional,
        ast.List: _list,
        ast.Dict: _dict,
        ast.ListComp: _comprehension,
        ast.Call: convert_call,
        ast.Name: convert_path,
        ast.Attribute: convert_path,
        ast.Subscript: convert_path,
    }


def _compared(symbol: str, left: Json, right: Json) -> tuple[str, Json, Json]:
    """Return a comparison in which a list of literals behind `in` is one literal."""
    if "in" in symbol and isinstance(right, list) and right[0] == "list":
        items = cast("list[list[Json]]", right[1:])
        if all(item[0] == "lit" for item in items):
            return symbol, left, ["lit", [item[1] for item in items]]
    return symbol, left, right


def _too_deep(start: int, end: int) -> Finding:
    message = f"the expression is nested deeper than {MAX_DEPTH} levels"
    return Finding(start, end, "PF220", message, "compute it in a step")
