"""The tree of a YAML text: every node knows where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from pgflow_yaml.language.positions import Lines, scalar_places, width_at

if TYPE_CHECKING:
    from pgflow_yaml.errors import Diagnostic, Span
    from pgflow_yaml.language.model import Json


@dataclass(slots=True, eq=False)
class ScalarNode:
    """A single value; `style` is "" for plain text, else the character that introduces it."""

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
    """A mapping: each key with its own node and its value."""

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
    """A list."""

    start: int
    end: int
    items: list[Node] = field(default_factory=list)

    def data(self) -> Json:
        """Return the plain data."""
        return [item.data() for item in self.items]


Node: TypeAlias = ScalarNode | MappingNode | SequenceNode


@dataclass(slots=True, eq=False)
class Document:
    """A parsed text: its tree, or None when it could not be read, and what was found on the way."""

    text: str
    lines: Lines
    root: Node | None = None
    diagnostics: list[Diagnostic] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)
    """Ids of nodes that were reported already: no other layer looks into them."""
    _places: dict[int, list[int] | None] = field(default_factory=dict)

    def span(self, node: Node) -> Span:
        """Return where the node stands, up to the end of its first line when it is a block."""
        end = node.end
        if not isinstance(node, ScalarNode) or node.style in ("|", ">"):
            line, _ = self.lines.position(node.start)
            end = min(
                end,
                node.start + len(self.lines.line(line)) - self.lines.position(node.start)[1] + 1,
            )
        return self.lines.span(node.start, max(end, node.start))

    def part(self, node: ScalarNode, start: int, end: int) -> Span:
        """Return where the code points `start` to `end` of a scalar's text stand in the file."""
        if id(node) not in self._places:
            raw = self.text[node.start : node.end]
            self._places[id(node)] = scalar_places(raw, node.text, node.style)
        places = self._places[id(node)]
        if places is None or not node.text:
            return self.span(node)
        first = places[min(start, len(places) - 1)]
        last = first
        if end > start:
            last = places[min(end, len(places)) - 1]
            last += width_at(self.text[node.start : node.end], last, node.style)
        return self.lines.span(node.start + first, node.start + last)
