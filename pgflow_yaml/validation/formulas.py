"""Expressions and templates of a step: parsed, and every name in them looked up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgflow_yaml import expressions
from pgflow_yaml.model import Formula, Json
from pgflow_yaml.source import MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.suggestions import did_you_mean
from pgflow_yaml.validation.report import Report, quoted
from pgflow_yaml.validation.sentences import nearest_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.graph import Ancestors

# Every name of the language, also those of other places: they are refused by name, not as unknown.
ROOTS = frozenset(
    {"input", "steps", "run", "item", "index", "secrets", "output", "iteration", "error", "attempt"}
)
_EVERYWHERE = frozenset({"input", "steps", "run"})
_KNOWN_WORD = re.compile(r"\b(?:input|steps|run)\b")
_IN_TEMPLATE = re.compile(r"""["']?\$\{\{\s*([^{}]*?)\s*\}\}["']?""")
_MUSTACHE = re.compile(r"(?<!\$)\{\{[^{}]*\}\}")


@dataclass(slots=True, kw_only=True)
class Scope:
    """What the expressions of one step may name."""

    step: str
    fields: Mapping[str, Json] | None
    fields_are_unreadable: bool
    steps: Mapping[str, object]
    ancestors: Ancestors
    depends_on: Node | None
    item: bool
    index: bool


class Formulas:
    """Turns the texts of one step into formulas and reports what is wrong with them."""

    def __init__(self, report: Report, scope: Scope) -> None:
        """Expressions are read in the scope of one step."""
        self.report = report
        self.scope = scope

    def expression(self, node: ScalarNode, key: str) -> Formula | None:
        """Compile an `if` or `map`; a boolean or number is a literal."""
        if not isinstance(node.value, str):
            return Formula(ast=["lit", node.value])
        try:
            found = expressions.parse_expression(node.text, roots=ROOTS)
        except expressions.InvalidExpression as error:
            self._report_findings(node, error, key)
            return None
        if not self._names_are_known(node, found.references, places=False):
            return None
        return Formula(ast=found.ast, paths=tuple(found.paths))

    def literal_list(self, node: SequenceNode) -> Formula | None:
        """Compile a `map` that is a list; an expression in list's clothes is reported."""
        raw = self.report.document.text[node.start : node.end]
        suspects = [
            raw,
            *(i.text for i in node.items if isinstance(i, ScalarNode) and i.value == i.text),
        ]
        if any(self._is_expression(text) for text in suspects):
            bare = _IN_TEMPLATE.sub(r"\1", raw)
            fix = (
                f"write map: {_quote(bare)}" if "\n" not in raw else 'write map: "[…]" in one line'
            )
            message = f'map of step "{self.scope.step}" is a YAML list of texts, not an expression'
            self.report.add("PF232", message, node, fix=fix)
            return None
        return Formula(ast=["lit", node.data()])

    def template(self, node: Node) -> Formula | None:
        """Compile `with` as a whole into one formula."""
        paths: set[str] = set()
        ast = self._template(node, paths)
        return None if ast is None else Formula(ast=ast, paths=tuple(sorted(paths)))

    def _template(self, node: Node, paths: set[str]) -> list[Json] | None:
        if id(node) in self.report.document.broken:
            return None
        if isinstance(node, MappingNode):
            ast: list[Json] = ["dict"]
            for key, (_, value) in node.entries.items():
                inner = self._template(value, paths)
                ast += [key, inner]
            return ast
        if isinstance(node, SequenceNode):
            return ["list", *(self._template(item, paths) for item in node.items)]
        if not isinstance(node.value, str):
            return ["lit", node.value]
        return self._text(node, paths)

    def _text(self, node: ScalarNode, paths: set[str]) -> list[Json] | None:
        if "{{" not in node.text:
            return ["lit", node.text]
        self._warn_of_missing_dollar(node)
        try:
            found = expressions.parse_template(node.text, roots=ROOTS)
        except expressions.InvalidExpression as error:
            self._report_findings(node, error, "with")
            return None
        if found is None:
            return ["lit", expressions.unescape(node.text)]
        if not self._names_are_known(node, found.references, places=True):
            return None
        paths.update(found.paths)
        return found.ast if isinstance(found.ast, list) else None

    def _is_expression(self, text: str) -> bool:
        if "${{" in text:
            return True
        if not _KNOWN_WORD.search(text) or len(text) > 1000:
            return False
        try:
            found = expressions.parse_expression(text, roots=_EVERYWHERE)
        except expressions.InvalidExpression:
            return False
        return bool(found.references)

    def _warn_of_missing_dollar(self, node: ScalarNode) -> None:
        for found in _MUSTACHE.finditer(node.text):
            self.report.add(
                "PF021",
                "`{{ … }}` without `$` stays as it is; it is no template",
                self.report.document.part(node, found.start(), found.end()),
                fix=f"write ${found.group()}",
                severity="warning",
            )

    def _report_findings(
        self, node: ScalarNode, error: expressions.InvalidExpression, key: str
    ) -> None:
        document = self.report.document
        line = document.text[node.end :].split("\n", 1)[0]
        if not node.style and re.match(r"\s+#", line):
            cut = node.text + line.rstrip()
            self.report.add(
                "PF023",
                "YAML takes everything from ` #` on as a comment, so the expression ends before it",
                node,
                fix=f"write {key}: {_quote(cut)}" if key != "with" else f"write {_quote(cut)}",
            )
            return
        for finding in error.findings:
            place = document.part(node, finding.start, finding.end)
            self.report.add(finding.code, finding.message, place, fix=finding.help)
        self._names_are_known(node, error.references, places=key == "with")

    def _names_are_known(
        self, node: ScalarNode, references: Sequence[expressions.Reference], *, places: bool
    ) -> bool:
        """Look up every path; `places` tells whether item and index could be known here."""
        known = True
        for reference in references:
            root, *rest = reference.path.split(".")
            found = self._problem(root, rest, places=places)
            if found is not None:
                code, words, message, fix, label = found
                end = reference.start + len(".".join(reference.path.split(".")[:words]))
                place = self.report.document.part(node, reference.start, min(end, reference.end))
                self.report.add(code, message, place, fix=fix, label=label)
                known = False
        return known

    def _problem(self, root: str, rest: Sequence[str], *, places: bool) -> _Problem | None:
        if root == "input":
            return self._input_problem(rest)
        if root == "steps":
            return self._step_problem(rest[0]) if rest else None
        if root == "run":
            return None
        if root in ("item", "index"):
            return self._item_problem(root, places=places)
        if root == "secrets":
            fix = "let the handler read it from its environment"
            return "PF110", 1, "`secrets` is not supported yet", fix, None
        where = {"output": "repeat.until", "iteration": "repeat.until"}.get(root, "retry.if")
        message = f"`{root}` is only known in {where}, which is not supported yet"
        return (
            "PF230",
            1,
            message,
            "read steps.NAME.output or steps.NAME.error of an ancestor",
            None,
        )

    def _input_problem(self, rest: Sequence[str]) -> _Problem | None:
        fields = self.scope.fields
        if not rest or self.scope.fields_are_unreadable:
            return None
        if fields is not None and rest[0] in fields:
            return None
        name = rest[0]
        if not fields:
            fix = f"declare it: `input: {{{name}: {{type: string}}}}`"
            return "PF207", 2, f"input.{name} is read, but this flow declares no input", fix, None
        meant = did_you_mean(name, fields)
        shown = ", ".join(list(fields)[:10]) + (", …" if len(fields) > 10 else "")
        fix = f"the input has {shown}; or declare {name} under `input`"
        return "PF207", 2, f"{quoted(name)} is no field of the input{meant}", fix, None

    def _step_problem(self, name: str) -> _Problem | None:
        scope = self.scope
        if name == scope.step:
            message = f'step "{name}" reads steps.{name}, which is itself'
            return "PF203", 2, message, "read a step that it depends on", None
        if name not in scope.steps:
            meant = did_you_mean(name, scope.steps)
            fix = nearest_step(name, scope.steps)
            return "PF202", 2, f"there is no step {quoted(name)}{meant}", fix, None
        if scope.ancestors.includes(name, of=scope.step):
            return None
        message = f'step "{scope.step}" reads steps.{name}, which is not among its ancestors'
        return "PF203", 2, message, self._depends_on_fix(name), f'not an ancestor of "{scope.step}"'

    def _depends_on_fix(self, name: str) -> str:
        if self.scope.ancestors.includes(self.scope.step, of=name):
            return f'"{name}" itself runs after "{self.scope.step}": read it in a later step'
        node = self.scope.depends_on
        if not isinstance(node, SequenceNode):
            return f"add `depends_on: [{name}]` to the step"
        line, _ = self.report.document.lines.position(node.start)
        written = self.report.document.text[node.start : node.end]
        if written.startswith("[") and "\n" not in written:
            inner = written[1:-1].strip().rstrip(",")
            whole = f"[{inner}, {name}]" if inner else f"[{name}]"
            return f'add "{name}" to depends_on in line {line}:  depends_on: {whole}'
        return f'add "{name}" to depends_on in line {line}'

    def _item_problem(self, root: str, *, places: bool) -> _Problem | None:
        if not places:
            why = "`if` and `map` are decided before there are tasks"
            message = f"`{root}` is only known in `with`: {why}"
            return "PF230", 1, message, "read the list itself, as `map` does", None
        if root == "index" and not self.scope.index:
            where = "a step with `map` or `initial_tasks`"
            message = f'`index` is only known in {where}; step "{self.scope.step}" has neither'
            return (
                "PF230",
                1,
                message,
                "add `map:` or `initial_tasks:`, or read something else",
                None,
            )
        if root == "item" and not self.scope.item:
            message = (
                f'`item` is only known in a step with `map`; step "{self.scope.step}" has none'
            )
            fix = "read `index`" if self.scope.index else "add `map:`, or read something else"
            return "PF230", 1, message, fix, None
        return None


_Problem = tuple[str, int, str, str | None, str | None]
"""Code, how many words of the path to mark, message, fix, label."""


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'" if '"' in text else f'"{text}"'
