"""Positions of the steps of a flow in its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language import source
from pgflow_yaml.language.model import SECTIONS, inner_name
from pgflow_yaml.language.source import MappingNode, Node, ScalarNode

if TYPE_CHECKING:
    from collections.abc import Iterator


def flow_node(root: Node | None, flow: str) -> Node | None:
    """Return the node of the flow of this name: the file's own, or one that a step holds."""
    pending = [(root, _name(root))]
    while pending:
        node, name = pending.pop()
        if name == flow:
            return node
        pending += [
            (inner, inner_name(name, slug))
            for section in _sections(node)
            for slug, (_, step) in section.entries.items()
            if isinstance(step, MappingNode) and isinstance(inner := step.get("flow"), MappingNode)
        ]
    return root


def step_node(root: Node | None, slug: str) -> Node | None:
    """Return the node of a step in either section, or None."""
    nodes = (section.get(slug) for section in _sections(root))
    return next((node for node in nodes if node is not None), None)


def step_positions(file: str, text: str, flow: str) -> dict[str, str]:
    """Return file:line:column of each step of a flow in its file."""
    document = source.parse(text)
    positions = {}
    for section in _sections(flow_node(document.root, flow)):
        for slug, (key, _) in section.entries.items():
            line, column = document.lines.position(key.start)
            positions[slug] = f"{file}:{line}:{column}"
    return positions


def _name(root: Node | None) -> str:
    node = root.get("flow") if isinstance(root, MappingNode) else None
    return node.text if isinstance(node, ScalarNode) else ""


def _sections(root: Node | None) -> Iterator[MappingNode]:
    for name in SECTIONS:
        section = root.get(name) if isinstance(root, MappingNode) else None
        if isinstance(section, MappingNode):
            yield section
