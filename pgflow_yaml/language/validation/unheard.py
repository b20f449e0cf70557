"""Names in `after.flows` that no flow has: the listener would never start, and never say so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import Diagnostic
from pgflow_yaml.language import source
from pgflow_yaml.language.source import MappingNode, ScalarNode, SequenceNode
from pgflow_yaml.language.suggestions import closest
from pgflow_yaml.language.validation.positions import flow_node

if TYPE_CHECKING:
    from collections.abc import Collection

    from pgflow_yaml.language.model import Definition
    from pgflow_yaml.language.source import Node


def unheard(
    flow: Definition, given: Collection[str], stored: Collection[str] | None
) -> list[Diagnostic]:
    """Return a warning for each name in `after.flows` that is none of `given` and `stored`.

    Without `stored`, only for a name that is like a given one: the others may be in the database.
    """
    body: dict[str, Any] = flow.body
    after = body.get("after", {})
    others = {*given, *(stored or ())} - {flow.name}
    missing = [name for name in after.get("flows", ()) if not _hears(name, others)]
    found = {name: closest(name, sorted(others)) for name in missing}
    if stored is None:
        found = {name: near for name, near in found.items() if near}
    if not found:
        return []
    document = source.parse(flow.source)
    where = "in these files" if stored is None else "in this database"
    return [
        Diagnostic(
            code="PF304",
            message=f'"{name}" in `after` matches no other flow {where}'
            + (f'; did you mean "{near}"?' if near else ""),
            span=document.span(node) if (node := _node(document.root, flow, name)) else None,
            help="correct the name, or deploy that flow later",
            severity="warning",
        )
        for name, near in found.items()
    ]


def _hears(name: str, others: Collection[str]) -> bool:
    """Return true if a name with `*` matches another flow; `*` alone means those to come, too."""
    rule = re.compile(".*".join(map(re.escape, name.split("*"))))
    return name == "*" or any(rule.fullmatch(other) for other in others)


def _node(root: Node | None, flow: Definition, name: str) -> Node | None:
    """Return the node of a name in `after`, or of all names."""
    node = flow_node(root, flow.name)
    for key in ("after", "flows"):
        node = node.get(key) if isinstance(node, MappingNode) else None
    items = node.items if isinstance(node, SequenceNode) else ()
    written = (item for item in items if isinstance(item, ScalarNode) and item.text == name)
    return next(written, node)
