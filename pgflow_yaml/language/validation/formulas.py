"""Expressions and templates of a flow: parsed, with every name resolved."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

from pgflow_yaml.errors import Replacement
from pgflow_yaml.language import expressions
from pgflow_yaml.language.model import Formula, Json
from pgflow_yaml.language.source import MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.language.source.scalars import quote
from pgflow_yaml.language.validation.comparisons import mismatch, not_a_list
from pgflow_yaml.language.validation.constants import error_of, truth_of
from pgflow_yaml.language.validation.names import (
    CONDITIONS,
    EVERYWHERE,
    ROOTS,
    Context,
    Problem,
    Scope,
)
from pgflow_yaml.language.validation.suggested_fixes import edited, without_space

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.errors import Span
    from pgflow_yaml.language.validation.findings import Report

_KNOWN_WORD = re.compile(r"\b(?:input|steps|run)\b")
_IN_TEMPLATE = re.compile(r"""["']?\$\{\{\s*([^{}]*?)\s*\}\}["']?""")
_OWN_NAME = "run.step"
_LOOKAHEAD = 1_000  # characters after a value that are searched for a comment
_MUSTACHE = re.compile(r"(?<!\$)\{\{[^{}]*\}\}")


class Formulas:
    """Compiler from the texts of one step, or of the flow, to formulas; mistakes are reported."""

    def __init__(self, report: Report, scope: Scope) -> None:
        """Take the scope that all expressions share."""
        self.report = report
        self.scope = scope
        self._problems: dict[tuple[str, Context], Problem | None] = {}

    def expression(self, node: Node | None, context: Context) -> Formula | None:
        """Compile an expression; a boolean or number is a literal."""
        if not isinstance(node, ScalarNode) or node.value is None:
            return None
        if not isinstance(node.value, str):
            return Formula(ast=["lit", node.value])
        parsed = self.report.once(node.text, "expression", lambda: _expression(node.text))
        if isinstance(parsed, expressions.InvalidExpression):
            self._report_findings(node, parsed, context)
            return None
        if not self._names_are_known(node, parsed.references, context):
            return None
        self.report.once(node, context, lambda: self._check_meaning(node, parsed, context))
        ast, paths = self._with_own_name(parsed)
        return Formula(ast=ast, paths=tuple(paths))

    def literal_list(self, node: SequenceNode) -> Formula | None:
        """Compile a `map` that is a list; report an expression that YAML read as a list."""
        raw = self.report.document.text[node.start : node.end]
        if self.report.once(node, "texts", lambda: self._holds_expressions(node, raw)):
            bare = _IN_TEMPLATE.sub(r"\1", raw)
            fix = f"write map: {quote(bare)}" if "\n" not in raw else 'write map: "[…]" in one line'
            message = f'map of step "{self.scope.step}" is a YAML list of texts, not an expression'
            write = quote(bare) if "\n" not in raw else None
            self.report.add("PF232", message, node, fix=fix, write=write)
            return None
        return Formula(ast=["lit", node.data()])

    def _holds_expressions(self, node: SequenceNode, raw: str) -> bool:
        texts = (i.text for i in node.items if isinstance(i, ScalarNode) and i.value == i.text)
        return any(self._is_expression(text) for text in (raw, *texts))

    def template(self, node: Node | None, context: Context) -> Formula | None:
        """Compile `with` or `output` as a whole into one formula."""
        if node is None:
            return None
        paths: set[str] = set()
        ast = self._template(node, paths, context)
        return None if ast is None else Formula(ast=ast, paths=tuple(sorted(paths)))

    def _template(self, node: Node, paths: set[str], context: Context) -> list[Json] | None:
        if id(node) in self.report.document.broken:
            return None
        if isinstance(node, MappingNode):
            ast: list[Json] = ["dict"]
            # The order of keys has no meaning, so it does not change the version (§7).
            for key, (name, value) in sorted(node.entries.items()):
                self.report.once(name, "key", partial(self._check_key, name))
                inner = self._template(value, paths, context)
                ast += [key, inner]
            return ast
        if isinstance(node, SequenceNode):
            return ["list", *(self._template(item, paths, context) for item in node.items)]
        if not isinstance(node.value, str):
            return ["lit", node.value]
        return self._text(node, paths, context)

    def _text(self, node: ScalarNode, paths: set[str], context: Context) -> list[Json] | None:
        if "{{" not in node.text:
            return ["lit", node.text]
        self.report.once(node, "dollar", lambda: self._warn_of_missing_dollar(node))
        parsed = self.report.once(node.text, "template", lambda: _template(node.text))
        if isinstance(parsed, expressions.InvalidExpression):
            self._report_findings(node, parsed, context)
            return None
        if parsed is None:
            return ["lit", expressions.unescape(node.text)]
        if not self._names_are_known(node, parsed.references, context):
            return None
        whole = parsed
        self.report.once(node, context, lambda: self._check_meaning(node, whole, context))
        self.report.once(node, "space", lambda: self._warn_of_space_around(node, whole.ast))
        ast, read = self._with_own_name(parsed)
        paths.update(read)
        return ast if isinstance(ast, list) else None

    def _with_own_name(self, parsed: expressions.Expression) -> tuple[Json, list[str]]:
        """Return the tree and its paths, with the name of the step in the place of `run.step`."""
        if _OWN_NAME not in parsed.paths:
            return parsed.ast, parsed.paths
        paths = [path for path in parsed.paths if path != _OWN_NAME]
        return _replaced(parsed.ast, ["path", _OWN_NAME], ["lit", self.scope.step]), paths

    def _warn_of_space_around(self, node: ScalarNode, ast: Json) -> None:
        """Warn where white space alone turns the value of one expression into a text."""
        assert isinstance(ast, list)
        values = [part for part in ast[1:] if not _is_space(part)]
        if ast[0] != "text" or len(values) != 1 or _is_literal(values[0]):
            return
        if node.style in ("|", ">") and node.text.strip() == node.text.rstrip("\n"):
            space, fix = "the line break at its end", f"write {node.style}- instead of {node.style}"
        else:
            space, fix = "the white space around it", "remove the white space"
        message = f"{space} makes the value of this `${{{{ }}}}` a text"
        self.report.add(
            "PF026",
            message,
            node,
            fix=f"{fix}: the value keeps its type",
            severity="warning",
            write=without_space(self.report.document, node),
        )

    def _check_key(self, key: ScalarNode) -> None:
        """Refuse an expression in a key, or one that YAML cut in two at its `: `."""
        if "${{" not in key.text.replace("$${{", ""):
            return
        if "}}" in key.text:
            fix = "write the name itself, or build the object in a step"
            self.report.add(
                "PF016", "a key is a text: no expression in it has a value", key, fix=fix
            )
        else:
            fix = "put the whole value in quotes"
            self.report.add("PF023", "an unquoted expression cannot hold `: `", key, fix=fix)

    def _is_expression(self, text: str) -> bool:
        if "${{" in text:
            return True
        if not _KNOWN_WORD.search(text):
            return False
        try:
            parsed = expressions.parse_expression(text, roots=EVERYWHERE)
        except expressions.InvalidExpression:
            return False
        return bool(parsed.references)

    def _warn_of_missing_dollar(self, node: ScalarNode) -> None:
        for match in _MUSTACHE.finditer(node.text):
            self.report.add(
                "PF021",
                "`{{ … }}` without `$` stays as it is; it is not a template",
                self.report.document.part(node, match.start(), match.end()),
                write=f"${match.group()}",
                severity="warning",
            )

    def _report_findings(
        self, node: ScalarNode, error: expressions.InvalidExpression, context: Context
    ) -> None:
        self._names_are_known(node, error.references, context)
        self.report.once(node, context, lambda: self._report_once(node, error, context))

    def _report_once(
        self, node: ScalarNode, error: expressions.InvalidExpression, context: Context
    ) -> None:
        document = self.report.document
        line = document.text[node.end : node.end + _LOOKAHEAD].split("\n", 1)[0]
        if not node.style and re.match(r"\s+#", line):
            cut = node.text + line.rstrip()
            span = document.lines.span(node.start, node.end + len(line.rstrip()))
            self.report.add(
                "PF023",
                "YAML takes everything from ` #` on as a comment, so the expression ends before it",
                node,
                fix=f"write {_key(context)}{quote(cut)}",
                write=Replacement(span=span, text=quote(cut)),
            )
            return
        for finding in error.findings:
            part = document.part(node, finding.start, finding.end)
            write = None if finding.edit is None else edited(document, node, finding.edit)
            self.report.add(finding.code, finding.message, part, fix=finding.help, write=write)

    def _check_meaning(
        self, node: ScalarNode, parsed: expressions.Expression, context: Context
    ) -> None:
        """Report expressions without a value, comparisons that never hold, and the like."""
        self._check_secrets(node, parsed)
        error = error_of(parsed.ast)
        if error is not None:
            fix = "correct it, or write the value itself"
            self.report.add(
                "PF253", f"this never has a value: {error}", self._inside(node), fix=fix
            )
        for comparison in parsed.comparisons:
            problem = mismatch(comparison, self.scope.fields)
            if problem is not None:
                document = self.report.document
                part = document.part(node, comparison.start, comparison.end)
                edit = problem.instead and _instead(node.text, comparison, *problem.instead)
                write = edit and edited(document, node, edit)
                self.report.add(problem.code, problem.message, part, fix=problem.fix, write=write)
        if context in CONDITIONS:
            self._check_condition(node, parsed, context)
        if context == "map":
            self._check_list(node, parsed)

    def _check_secrets(self, node: ScalarNode, parsed: expressions.Expression) -> None:
        """Report a secret of which a handler would get a part, which no mask would find."""
        misused = expressions.misused_secrets(parsed.ast)
        for reference in parsed.references if misused else ():
            if reference.path in misused:
                part = self.report.document.part(node, reference.start, reference.end)
                fix = "give the handler the whole secret, and let it do this"
                message = expressions.secret_message(reference.path)
                self.report.add("PF230", message, part, fix=fix)

    def _check_list(self, node: ScalarNode, parsed: expressions.Expression) -> None:
        """Report a `map` over a value that is not a list."""
        scope = self.scope
        is_object = scope.fields is not None or not scope.fields_are_unreadable
        problem = not_a_list(parsed.ast, scope.fields, input_is_object=is_object)
        if problem is not None:
            self.report.add(problem.code, problem.message, self._inside(node), fix=problem.fix)

    def _check_condition(
        self, node: ScalarNode, parsed: expressions.Expression, context: Context
    ) -> None:
        """Warn of a condition that no run can change, except a plain `true` or `false`."""
        known = None if parsed.ast in (["lit", True], ["lit", False]) else truth_of(parsed.ast)
        if known is not None:
            shown = "true" if known else "false"
            message = f"this condition is always {shown}"
            fix = f"read something that differs between runs, or write {shown}"
            self.report.add("PF252", message, self._inside(node), fix=fix, severity="warning")
        roots = {path.partition(".")[0] for path in parsed.paths}
        if context == "repeat.until" and roots and not roots & {"output", "iteration"}:
            message = "this reads neither `output` nor `iteration`, so no call can change it"
            fix = "read what the handler returned: `until: output.ready`"
            self.report.add("PF252", message, self._inside(node), fix=fix, severity="warning")

    def _inside(self, node: ScalarNode) -> Span:
        """Return the span of a text without its quotes."""
        return self.report.document.part(node, 0, len(node.text))

    def _names_are_known(
        self, node: ScalarNode, references: Sequence[expressions.Reference], context: Context
    ) -> bool:
        """Resolve every path; report the paths that cannot be read here."""
        known = True
        for reference in references:
            words = reference.path.split(".")
            key = (reference.path, context)
            if key not in self._problems:
                self._problems[key] = self.scope.problem(words[0], words[1:], context=context)
            problem = self._problems[key]
            if problem is not None:
                end = reference.start + len(".".join(words[: problem.words]))
                end = min(end, reference.end)
                document = self.report.document
                self.report.add(
                    problem.code,
                    problem.message,
                    document.part(node, reference.start, end),
                    fix=problem.fix,
                    label=problem.label,
                    write=problem.write
                    and edited(document, node, (reference.start, end, problem.write)),
                )
                known = False
        return known


def _expression(text: str) -> expressions.Expression | expressions.InvalidExpression:
    try:
        return expressions.parse_expression(text, roots=ROOTS)
    except expressions.InvalidExpression as error:
        return error


def _template(text: str) -> expressions.Expression | expressions.InvalidExpression | None:
    try:
        return expressions.parse_template(text, roots=ROOTS)
    except expressions.InvalidExpression as error:
        return error


def _replaced(ast: Json, old: Json, new: Json) -> Json:
    if ast == old:
        return new
    if not isinstance(ast, list) or _is_literal(ast):
        return ast
    return [_replaced(part, old, new) for part in ast]


def _is_literal(part: Json) -> bool:
    return isinstance(part, list) and part[:1] == ["lit"]


def _is_space(part: Json) -> bool:
    return isinstance(part, list) and _is_literal(part) and not str(part[1]).strip()


def _instead(
    text: str, comparison: expressions.Comparison, value: Json, ours: str
) -> tuple[int, int, str] | None:
    """Return the edit that replaces a literal of a comparison; None if it stands there twice."""
    raw = re.escape(value) if isinstance(value, str) else re.escape(json.dumps(value))
    pattern = rf"""(["']){raw}\1""" if isinstance(value, str) else rf"(?<![\w.]){raw}(?![\w.])"
    found = list(re.compile(pattern).finditer(text, comparison.start, comparison.end))
    return (found[0].start(), found[0].end(), ours) if len(found) == 1 else None


def _key(context: Context) -> str:
    """Return the key before an expression; empty for a template, whose own key is unknown here."""
    of_templates = ("with", "output", "schedule", "webhook.input")
    return "" if context in of_templates else f"{context.split('.')[-1]}: "
