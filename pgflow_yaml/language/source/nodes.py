"""Nodes of the tree of a YAML text, each with its position in the text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from pgflow_yaml.language.positions import Lines, scalar_offsets, width_at

if TYPE_CHECKING:
    from pgflow_yaml.errors import Diagnostic, Span
    from pgflow_yaml.language.model import Json


@dataclass(slots=True, eq=False)
class ScalarNode:
    """Single value; `style` is "" for plain text, else the character that introduces it."""

    start: int
    end: int
    value: str | int | float | bool | None
    text: str
    style: str

    def data(self) -> Json:
        """Return the value."""
        return self.value


@dataclass(slots=True, eq=False)
class MappingNode:
    """Mapping of each key to the node of the key and the node of its value."""

    start: int
    end: int
    entries: dict[str, tuple[ScalarNode, Node]] = field(default_factory=dict)

    def data(self) -> Json:
        """Return the plain data."""
        return {key: value.data() for key, (_, value) in self.entries.items()}

    def get(self, key: str) -> Node | None:
        """Return the value of `key`, or None."""
        entry = self.entries.get(key)
        return entry[1] if entry else None


@dataclass(slots=True, eq=False)
class SequenceNode:
    """List of nodes."""

    start: int
    end: int
    items: list[Node] = field(default_factory=list)

    def data(self) -> Json:
        """Return the plain data."""
        return [item.data() for item in self.items]


Node: TypeAlias = ScalarNode | MappingNode | SequenceNode


@dataclass(slots=True, eq=False)
class Document:
    """Parsed text: its tree, or None when it could not be read, and the findings."""

    text: str
    lines: Lines
    root: Node | None = None
    diagnostics: list[Diagnostic] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)
    """Ids of nodes that were reported already: no other layer checks them."""
    _offsets: dict[int, list[int] | None] = field(default_factory=dict)

    def span(self, node: Node) -> Span:
        """Return the span of a node, which ends with its first line when the node is a block."""
        end = node.end
        if not isinstance(node, ScalarNode) or node.style in ("|", ">"):
            line, _ = self.lines.position(node.start)
            end = min(
                end,
                node.start + len(self.lines.line(line)) - self.lines.position(node.start)[1] + 1,
            )
        return self.lines.span(node.start, max(end, node.start))

    def part(self, node: ScalarNode, start: int, end: int) -> Span:
        """Return the span in the file of the code points `start` to `end` of a scalar's text."""
        if id(node) not in self._offsets:
            raw = self.text[node.start : node.end]
            self._offsets[id(node)] = scalar_offsets(raw, node.text, node.style)
        offsets = self._offsets[id(node)]
        if offsets is None or not node.text:
            return self.span(node)
        first = offsets[min(start, len(offsets) - 1)]
        last = first
        if end > start:
            last = offsets[min(end, len(offsets)) - 1]
            last += width_at(self.text[node.start : node.end], last, node.style)
        return self.lines.span(node.start + first, node.start + last)
