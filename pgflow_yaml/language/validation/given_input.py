"""Inputs that a file gives to the runs of its own flow: does the flow take them?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from pgflow_yaml.language.inputs import check_value
from pgflow_yaml.language.source import MappingNode
from pgflow_yaml.language.suggestions import did_you_mean
from pgflow_yaml.language.validation.constants import constant
from pgflow_yaml.language.validation.findings import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.language.source import Node
    from pgflow_yaml.language.validation.findings import Report

Accepted: TypeAlias = "tuple[Mapping[str, Json] | None, Json]"
"""`input` and `input_schema` of the flow."""


def check_given(
    report: Report, holder: MappingNode, ast: Any, accepted: Accepted, *, giver: str
) -> None:
    """Report what the flow refuses in the tree of the `input` of a schedule or webhook."""
    entry = holder.entries.get("input")
    for at, message in _refused(entry[1] if entry else None, ast, accepted, giver):
        fix = "change the value, or the input of this flow"
        report.add("PF271", message, at or holder, fix=fix)


def _refused(
    node: Node | None, ast: Any, accepted: Accepted, giver: str
) -> Iterator[tuple[Node | None, str]]:
    fields, schema = accepted
    known = constant(ast)
    if schema is not None:
        for problem in check_value(schema, known[0], path="") if known is not None else ():
            subject = f"{problem['path'] or 'the input'} {problem['message']}"
            yield node, f"the flow refuses what {giver} gives it: {subject}"
    elif ast[0] == "dict":
        yield from _by_field(node, ast, fields or {}, giver)
    elif known is not None and not isinstance(known[0], dict):
        yield node, f"the flow takes an object as its input, and {giver} gives none"


def _by_field(
    node: Node | None, ast: Any, fields: Mapping[str, Json], giver: str
) -> Iterator[tuple[Node | None, str]]:
    values = dict(zip(ast[1::2], ast[2::2], strict=True))
    nodes = node.entries if isinstance(node, MappingNode) else {}
    for name, field in fields.items():
        if name not in values and not (isinstance(field, dict) and "default" in field):
            yield node, f'the flow needs the input "{name}", which {giver} does not give'
    for name, value in values.items():
        key, at = nodes.get(name, (None, node))
        if name not in fields:
            yield key, f"the flow has no input {quoted(name)}{did_you_mean(name, fields)}"
        elif value is not None and (given := constant(value)) is not None:
            for problem in check_value(fields[name], given[0], path=name):
                yield at, f"the flow refuses this: {problem['path']} {problem['message']}"
