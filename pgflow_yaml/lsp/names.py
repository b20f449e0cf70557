"""The names in a flow file: each place that defines or uses a step, an input field or a flow.

Definitions, hovers, completion and rename all read this one list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgflow_yaml.language.expressions import InvalidExpression, parse_expression, parse_template
from pgflow_yaml.language.expressions.lexer import Lexer
from pgflow_yaml.language.model import SECTIONS
from pgflow_yaml.language.source import Document, MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.language.validation.names import ROOTS

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["step", "input", "handler", "flow"]
Scope = tuple[str, ...]
"""The steps around a flow that is written in a step; () for the flow of the file."""
EXPRESSIONS = frozenset({"if", "map", "until", "for"})
"""The keys whose text is an expression without `${{ }}`."""
_PATH = re.compile(r"(steps|input)\s*\??\.\s*(\w+)")
_OF_STEPS = re.compile(r"run\s*\??\.\s*(?:failed|unhandled|skipped)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """One place of a name, from the index `start` of the text up to, not including, `end`."""

    kind: Kind
    name: str
    scope: Scope
    start: int
    end: int
    defines: bool = False
    node: Node | None = None
    """The value of a definition: the step, or the schema of the field."""


def names_in(document: Document) -> list[Name]:
    """Return the names of a flow file in the order of their places; an alias repeats none."""
    found: dict[tuple[int, int], Name] = {}
    if isinstance(document.root, MappingNode):
        for name in _Walk(document).flow(document.root, ()):
            found.setdefault((name.start, name.end), name)
    return sorted(found.values(), key=lambda name: name.start)


def name_at(names: list[Name], offset: int) -> Name | None:
    """Return the name at an index of the text, its end included."""
    return next((name for name in names if name.start <= offset <= name.end), None)


def definition_of(names: list[Name], name: Name) -> Name | None:
    """Return the place that defines what a name means."""
    return next((other for other in names if other.defines and _same(other, name)), None)


def uses_of(names: list[Name], name: Name) -> list[Name]:
    """Return every place of the same thing, its definition included."""
    return [other for other in names if _same(other, name)]


def _same(one: Name, other: Name) -> bool:
    return (one.kind, one.name, one.scope) == (other.kind, other.name, other.scope)


class _Walk:
    """Walk through one document."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def flow(self, node: MappingNode, scope: Scope) -> Iterator[Name]:
        """Yield the names of a flow: of the file, or one that a step holds."""
        fields = node.get("input")
        if isinstance(fields, MappingNode):
            yield from self._keys("input", fields, scope)
        defaults = node.get("defaults")
        if isinstance(defaults, MappingNode):
            yield from self._values(defaults, scope)
        if (output := node.get("output")) is not None:
            yield from self._templates(output, scope)
        for section in SECTIONS:
            steps = node.get(section)
            if isinstance(steps, MappingNode):
                yield from self._keys("step", steps, scope)
                for slug, (_, step) in steps.entries.items():
                    if isinstance(step, MappingNode):
                        yield from self._step(step, slug, scope)

    def _keys(self, kind: Kind, mapping: MappingNode, scope: Scope) -> Iterator[Name]:
        for name, (key, value) in mapping.entries.items():
            yield self._name(kind, name, scope, key, defines=True, holds=value)

    def _step(self, step: MappingNode, slug: str, scope: Scope) -> Iterator[Name]:
        for key, (_, value) in step.entries.items():
            if key == "depends_on":
                yield from self._edges(value, scope)
            elif key == "with":
                yield from self._templates(value, scope)
            elif key == "handler" and isinstance(value, ScalarNode):
                yield self._name("handler", value.text, scope, value)
            elif key == "flow" and isinstance(value, ScalarNode):
                yield self._name("flow", value.text, scope, value)
            elif key == "flow" and isinstance(value, MappingNode):
                yield from self.flow(value, (*scope, slug))
            elif key in EXPRESSIONS and isinstance(value, ScalarNode):
                yield from self._expression(value, scope)
            elif isinstance(value, MappingNode):
                yield from self._values(value, scope)

    def _edges(self, node: Node, scope: Scope) -> Iterator[Name]:
        scalars: list[Node] = [node]
        if isinstance(node, SequenceNode):
            scalars = node.items
        elif isinstance(node, MappingNode):
            scalars = [key for key, _ in node.entries.values()]
        for scalar in scalars:
            if isinstance(scalar, ScalarNode) and scalar.text:
                yield self._name("step", scalar.text, scope, scalar)

    def _values(self, mapping: MappingNode, scope: Scope) -> Iterator[Name]:
        """Yield the names in the options of a step, such as `retry.if` and `repeat.until`."""
        for key, (_, value) in mapping.entries.items():
            if isinstance(value, MappingNode):
                yield from self._values(value, scope)
            elif key in EXPRESSIONS and isinstance(value, ScalarNode):
                yield from self._expression(value, scope)

    def _templates(self, node: Node, scope: Scope) -> Iterator[Name]:
        if isinstance(node, MappingNode):
            for _, value in node.entries.values():
                yield from self._templates(value, scope)
        elif isinstance(node, SequenceNode):
            for item in node.items:
                yield from self._templates(item, scope)
        elif isinstance(node.value, str):
            yield from self._expression(node, scope, template=True)

    def _expression(
        self, node: ScalarNode, scope: Scope, *, template: bool = False
    ) -> Iterator[Name]:
        if not isinstance(node.value, str):
            return
        read = parse_template if template else parse_expression
        try:
            parsed = read(node.text, roots=ROOTS)
        except InvalidExpression as error:
            references = error.references
        else:
            references = () if parsed is None else parsed.references
        of_steps = False
        for reference in (each for each in references if each.read):
            path = node.text[reference.start : reference.end]
            match = _PATH.match(path)
            of_steps = of_steps or _OF_STEPS.match(path) is not None
            if match is not None:
                kind: Kind = "step" if match[1] == "steps" else "input"
                start = reference.start + match.start(2)
                yield self._part(node, start, kind=kind, name=match[2], scope=scope)
        if of_steps:
            yield from self._texts(node, scope)

    def _texts(self, node: ScalarNode, scope: Scope) -> Iterator[Name]:
        """Yield the texts beside a list of steps: `"charge" in run.failed` names a step."""
        for token in Lexer(node.text).tokens:
            name = node.text[token.start + 1 : token.end - 1]
            if token.kind == "text" and name == token.value and name.isidentifier():
                yield self._part(node, token.start + 1, kind="step", name=name, scope=scope)

    def _name(
        self,
        kind: Kind,
        name: str,
        scope: Scope,
        node: ScalarNode,
        *,
        defines: bool = False,
        holds: Node | None = None,
    ) -> Name:
        quotes = len(node.style) if node.style in ("'", '"') else 0
        return Name(
            kind=kind,
            name=name,
            scope=scope,
            start=node.start + quotes,
            end=node.end - quotes,
            defines=defines,
            node=holds,
        )

    def _part(self, node: ScalarNode, start: int, *, kind: Kind, name: str, scope: Scope) -> Name:
        span = self.document.part(node, start, start + len(name))
        starts = self.document.lines.starts
        return Name(
            kind=kind,
            name=name,
            scope=scope,
            start=starts[span.line - 1] + span.column - 1,
            end=starts[span.end_line - 1] + span.end_column - 1,
        )
