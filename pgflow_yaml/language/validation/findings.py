"""Where the findings of all layers come together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pgflow_yaml.errors import Diagnostic, Severity, Span
from pgflow_yaml.language.source import Document, MappingNode, Node, ScalarNode

if TYPE_CHECKING:
    from collections.abc import Callable

Path = tuple[str, ...]
Found = TypeVar("Found")


@dataclass(slots=True)
class Report:
    """Collects findings; what an alias repeats is reported once."""

    document: Document
    step_keys: frozenset[str] = frozenset()
    """The keys that a step can have at all."""
    found: dict[tuple[str, str, Span], Diagnostic] = field(default_factory=dict)
    bad: set[int] = field(default_factory=set)
    """Ids of nodes whose shape is wrong: the meaning layer does not look into them."""
    unfit: set[int] = field(default_factory=set)
    """Ids of mappings in which, however deep, some shape is wrong."""
    once: dict[tuple[int | str, str], Any] = field(default_factory=dict)
    """What was found out about a node (by id) or a text, by purpose: what comes again is free."""
    meant: dict[int, dict[str, Node]] = field(default_factory=dict)
    """For a mapping (by id): our keys that a foreign or mistyped key stands for."""

    def add(
        self,
        code: str,
        message: str,
        at: Node | Span,
        *,
        fix: str | None = None,
        label: str | None = None,
        severity: Severity = "error",
    ) -> None:
        """Add one finding at a node or a span."""
        span = at if isinstance(at, Span) else self.document.span(at)
        finding = Diagnostic(
            code=code, message=message, span=span, help=fix, label=label, severity=severity
        )
        self.found.setdefault((code, message, span), finding)

    def found_once(self, what: Node | str, purpose: str, find: Callable[[], Found]) -> Found:
        """Find something out, unless that was done: an alias is the same node once more."""
        key = (what if isinstance(what, str) else id(what), purpose)
        if key not in self.once:
            self.once[key] = find()
        found: Found = self.once[key]
        return found

    def value(self, mapping: MappingNode, key: str) -> Node | None:
        """Return the value of a key whose shape is right, or None."""
        entry = mapping.entries.get(key)
        if entry is None or not self.usable(entry[1]):
            return None
        return entry[1]

    def written(self, mapping: MappingNode, key: str) -> Node | None:
        """Return the value of a key, or of a word that stands for it, whatever its shape."""
        return mapping.get(key) or self.meant.get(id(mapping), {}).get(key)

    def text(self, mapping: MappingNode, key: str) -> str | None:
        """Return the text of a key, or None when it is absent, null or wrong."""
        node = self.value(mapping, key)
        return node.value if isinstance(node, ScalarNode) and isinstance(node.value, str) else None

    def usable(self, node: Node) -> bool:
        """Tell whether nothing was said against a node yet."""
        return id(node) not in self.bad and id(node) not in self.document.broken

    def has(self, mapping: MappingNode, key: str) -> bool:
        """Tell whether a key, or a word that stands for it, was written."""
        return key in mapping.entries or key in self.meant.get(id(mapping), {})


def describe(path: Path) -> str:
    """Name the place in the flow that a path of keys leads to."""
    match path:
        case ():
            return "the flow"
        case ("steps" | "finally", step):
            return f'step "{step}"'
        case ("steps" | "finally", step, *rest):
            return f'{".".join(rest)} of step "{step}"'
        case ("input", name):
            return f'input field "{name}"'
        case ("input", name, *rest):
            return f'{".".join(rest)} of input field "{name}"'
        case ("labels", name):
            return f'label "{name}"'
        case _:
            return ".".join(path)


def quoted(text: str) -> str:
    """Quote a text of the file for a message, cut when it is long."""
    return f'"{text if len(text) <= 60 else text[:60] + "…"}"'
