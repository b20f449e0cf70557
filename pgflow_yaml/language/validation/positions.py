"""Positions of the steps of a flow in its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language import source
from pgflow_yaml.language.model import SECTIONS
from pgflow_yaml.language.source import MappingNode, Node

if TYPE_CHECKING:
    from collections.abc import Iterator


def step_node(root: Node | None, slug: str) -> Node | None:
    """Return the node of a step in either section, or None."""
    nodes = (section.get(slug) for section in _sections(root))
    return next((node for node in nodes if node is not None), None)


def step_positions(file: str, text: str) -> dict[str, str]:
    """Return file:line:column of each step of a flow file."""
    document = source.parse(text)
    positions = {}
    for section in _sections(document.root):
        for slug, (key, _) in section.entries.items():
            line, column = document.lines.position(key.start)
            positions[slug] = f"{file}:{line}:{column}"
    return positions


def _sections(root: Node | None) -> Iterator[MappingNode]:
    for name in SECTIONS:
        section = root.get(name) if isinstance(root, MappingNode) else None
        if isinstance(section, MappingNode):
            yield section
