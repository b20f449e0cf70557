"""Child flows: each exists, none runs itself in the end, and each accepts its input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import Diagnostic
from pgflow_yaml.language import graph, source
from pgflow_yaml.language.inputs import check_value, type_name
from pgflow_yaml.language.model import SECTIONS, inner_name
from pgflow_yaml.language.source import MappingNode, Node
from pgflow_yaml.language.suggestions import did_you_mean
from pgflow_yaml.language.validation.constants import constant
from pgflow_yaml.language.validation.positions import flow_node, step_node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgflow_yaml.errors import Severity
    from pgflow_yaml.language.model import Definition

Body = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """Finding about a flow step; its position in the text is not resolved yet."""

    code: str
    message: str
    fix: str
    path: tuple[str, ...]
    at_key: bool = False
    severity: Severity = "error"


def check_flows(
    definitions: Sequence[Definition], *, stored: Mapping[str, Body | None] | None = None
) -> list[list[Diagnostic]]:
    """Return the findings between flows, a list for each definition.

    A child is looked up among the definitions, then in `stored`: bodies by the child's name as
    written, None for an unknown flow. Without `stored` an unknown child is only a warning.
    """
    family = _Family(definitions, stored)
    return [
        _located([*family.unknown(flow), *family.cycles(flow), *family.refused(flow)], flow)
        for flow in definitions
    ]


def children_by_step(body: Body) -> list[tuple[str, str]]:
    """Return (step, child) of the steps that run a child, without its version."""
    return [(slug, step["flow"].partition("@")[0]) for slug, step in _flow_steps(body)]


def children_of(body: Body) -> list[str]:
    """Return the children of a flow as its steps write them: `name`, or `name@version`."""
    return sorted({step["flow"] for _, step in _flow_steps(body)})


def is_given(child: str, definitions: Sequence[Definition]) -> bool:
    """Return true if a child, in the version that it names, is among these definitions."""
    return _body_among(child, definitions) is not None


class _Family:
    """Definitions, and the bodies of the flows that they run."""

    def __init__(
        self, definitions: Sequence[Definition], stored: Mapping[str, Body | None] | None
    ) -> None:
        self.definitions = definitions
        self.stored = stored
        self.all_cycles = self._find_cycles()

    def body(self, child: str) -> Body | None:
        """Return the body of a child, or None if it is unknown."""
        body = _body_among(child, self.definitions)
        return body if body is not None else (self.stored or {}).get(child)

    def unknown(self, flow: Definition) -> Iterator[_Finding]:
        """Find children that do not exist."""
        for slug, step in _flow_steps(flow.body):
            child = step["flow"]
            if self.body(child) is not None:
                continue
            name, _, version = child.partition("@")
            names = [other.name for other in self.definitions if other.name != flow.name]
            if self.stored is None:
                message = f'flow "{child}" is in none of these files'
                fix = "give its file, too; `compile` and `run` look for it in the database as well"
                yield _Finding(
                    code="PF240", message=message, fix=fix, path=(slug, "flow"), severity="warning"
                )
                continue
            known = any(other.name == name for other in self.definitions)
            if version and known:
                message = f'flow "{name}" has no version {version}'
                fix = f"write `flow: {name}`, or a version that `pgflow-yaml versions {name}` lists"
            else:
                message = f'there is no flow "{child}"{did_you_mean(name, names)}'
                fix = "give its file, too, or compile it first"
            yield _Finding(code="PF240", message=message, fix=fix, path=(slug, "flow"))

    def cycles(self, flow: Definition) -> Iterator[_Finding]:
        """Find the steps through which a flow runs itself, directly or through others."""
        cycle = next((names for names in self.all_cycles if flow.name in names), None)
        if cycle is None:
            return
        start = cycle.index(flow.name)
        walk = [*cycle[start:], *cycle[:start], flow.name]
        for slug, step in _flow_steps(flow.body):
            if step["flow"].partition("@")[0] == walk[1]:
                shown = " → ".join(walk)
                message = (
                    f'flow "{flow.name}" runs itself'
                    if len(walk) == 2
                    else f"these flows run each other without end: {shown}"
                )
                fix = "let one of them do its part in a step with a handler"
                yield _Finding(code="PF241", message=message, fix=fix, path=(slug, "flow"))

    def refused(self, flow: Definition) -> Iterator[_Finding]:
        """Find input that a step passes to its child, or omits, and that the child refuses."""
        for slug, step in _flow_steps(flow.body):
            child = self.body(step["flow"])
            if child is not None:
                yield from _ChildInput(slug, step, flow.body, child).findings()

    def _find_cycles(self) -> list[list[str]]:
        edges: dict[str, set[str]] = {}
        pending = [flow.body for flow in self.definitions]
        while pending:
            body = pending.pop()
            name = str(body["flow"])
            if name in edges:
                continue
            children = children_of(body)
            edges[name] = {child.partition("@")[0] for child in children}
            pending += [known for child in children if (known := self.body(child)) is not None]
        known = {name: [to for to in children if to in edges] for name, children in edges.items()}
        return graph.cycles(known)


class _ChildInput:
    """Input that one step passes to its child flow."""

    def __init__(self, slug: str, step: Body, parent: Body, child: Body) -> None:
        self.slug, self.step, self.parent, self.child = slug, step, parent, child
        self.fields: Body = child.get("input") or {}

    def findings(self) -> Iterator[_Finding]:
        ast = self.step.get("with", {}).get("ast")
        if "input_schema" in self.child:
            yield from self._whole(ast)
        elif ast is not None and ast[0] == "dict":
            values = dict(zip(ast[1::2], ast[2::2], strict=True))
            yield from self._names(values, origin="with")
            for name, value in values.items():
                yield from self._value(name, value)
        elif ast is not None:
            if ast[0] in ("lit", "list", "text"):
                kind = type_name(ast[1]) if ast[0] == "lit" else _KINDS[ast[0]]
                message = f"{self._child()} takes an object, and `with` gives it {_NOUNS[kind]}"
                fields = ", ".join(f"{name}: …" for name in self.fields)
                yield self._finding(message, f"write `with: {{{fields}}}`", "with")
        elif "map" in self.step:
            yield from self._items()
        elif self.step["depends_on"]:
            yield from self._names(self.step["depends_on"], origin="depends_on")
        elif "input_schema" not in self.parent:
            yield from self._names(self.parent.get("input") or {}, origin="flow")

    def _names(self, passed: Mapping[str, Any], *, origin: str) -> Iterator[_Finding]:
        """Compare names: missing fields, and fields that the child does not have."""
        explanation = {
            "with": "",
            "depends_on": "; without `with` it is given the outputs of its dependencies",
            "flow": "; without `with` it is given this flow's own input",
        }[origin]
        for name, field in self.fields.items():
            if name not in passed and "default" not in field:
                message = (
                    f'{self._child()} needs "{name}", which this step does not give{explanation}'
                )
                fix = (
                    f"add {name} to `with`" if origin == "with" else f"write `with: {{{name}: …}}`"
                )
                yield self._finding(message, fix, origin)
        for name in passed:
            if name not in self.fields:
                hint = did_you_mean(name, self.fields)
                message = f'{self._child()} has no input "{name}"{hint}{explanation}'
                known = ", ".join(self.fields) or "none"
                fix = f"its inputs are {known}" if origin == "with" else "write `with: {…}`"
                yield replace(self._finding(message, fix, origin, name), at_key=True)

    def _value(self, name: str, ast: Any) -> Iterator[_Finding]:
        field = self.fields.get(name)
        if field is None:
            return
        known = constant(ast)
        if known is not None:
            for problem in check_value(field, known[0], path=name):
                message = f"{self._child()} refuses this: {problem['path']} {problem['message']}"
                yield self._finding(message, _CHANGE, "with", name)
        elif ast[0] in _KINDS:
            wanted = field.get("type")
            types = [wanted] if isinstance(wanted, str) else wanted or [_KINDS[ast[0]]]
            if _KINDS[ast[0]] not in types:
                kinds = " or ".join(types)
                message = (
                    f"{self._child()} refuses this: {name} must be {kinds}, not {_KINDS[ast[0]]}"
                )
                yield self._finding(message, _CHANGE, "with", name)

    def _items(self) -> Iterator[_Finding]:
        """Check literal items of a map with the child's input; other items are unknown."""
        ast = self.step["map"]["ast"]
        if ast[0] != "lit" or not isinstance(ast[1], list):
            return
        wrong = next((item for item in ast[1] if not isinstance(item, dict)), None)
        if wrong is not None:
            message = f"{self._child()} takes an object, and an item of this map is not one"
            fix = 'write `with: {NAME: "${{ item }}"}`'
            yield self._finding(message, fix, "map")

    def _whole(self, ast: Any) -> Iterator[_Finding]:
        known = None if ast is None else constant(ast)
        if known is not None:
            for problem in check_value(self.child["input_schema"], known[0], path=""):
                subject = f"{problem['path']} " if problem["path"] else "the input "
                message = f"{self._child()} refuses this: {subject}{problem['message']}"
                yield self._finding(message, _CHANGE, "with")

    def _child(self) -> str:
        name = self.step["flow"].partition("@")[0]
        if name == inner_name(self.parent["flow"], self.slug):
            return f'the flow in step "{self.slug}"'
        return f'flow "{self.step["flow"]}"'

    def _finding(self, message: str, fix: str, *path: str) -> _Finding:
        return _Finding(code="PF242", message=message, fix=fix, path=(self.slug, *path))


_NOUNS = {
    "string": "a text",
    "array": "a list",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "object": "an object",
}
_CHANGE = "change the value, or the input of that flow"
_KINDS = {"text": "string", "list": "array", "dict": "object"}


def _flow_steps(body: Body) -> Iterator[tuple[str, Body]]:
    for section in SECTIONS:
        for slug, step in body.get(section, {}).items():
            if "flow" in step:
                yield slug, step


def _body_among(child: str, definitions: Sequence[Definition]) -> Body | None:
    name, _, version = child.partition("@")
    for definition in definitions:
        if definition.name == name and version == definition.version:
            return definition.body
        # A flow that is written in a step is never active: only its own step can run it.
        if definition.name == name and not version and not _is_inner(definition, definitions):
            return definition.body
    return None


def _is_inner(definition: Definition, definitions: Sequence[Definition]) -> bool:
    return any(definition in other.inner for other in definitions)


def _located(findings: Sequence[_Finding], flow: Definition) -> list[Diagnostic]:
    """Resolve the positions of findings; parse the text again only if there are any."""
    if not findings:
        return []
    document = source.parse(flow.source)
    located = []
    for finding in findings:
        root = flow_node(document.root, flow.name)
        node = _node(root, finding.path, key=finding.at_key)
        located.append(
            Diagnostic(
                code=finding.code,
                message=finding.message,
                span=document.span(node) if node else None,
                help=finding.fix,
                severity=finding.severity,
            )
        )
    return sorted(located, key=attrgetter("position"))


def _node(root: Node | None, path: Sequence[str], *, key: bool) -> Node | None:
    """Follow a path into the step as far as it exists: to the last value, or to the last key."""
    slug, *rest = path
    step = step_node(root, slug)
    node: Node | None = step.get("flow") if isinstance(step, MappingNode) else None
    for number, name in enumerate(rest, 1):
        entry = step.entries.get(name) if isinstance(step, MappingNode) else None
        if entry is None:
            break
        step = entry[1]
        node = entry[0] if key and number == len(rest) else step
    return node
