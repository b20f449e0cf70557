"""Collection of the findings of all layers."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from pgflow_yaml.errors import Diagnostic, Replacement, Severity, Span
from pgflow_yaml.language.source import Document, MappingNode, Node, ScalarNode

if TYPE_CHECKING:
    from collections.abc import Callable

Path = tuple[str, ...]
_Key = tuple[str, str, Span, str | None]
_STEP = re.compile(r'step "[^"]*"')
Result = TypeVar("Result")


@dataclass(slots=True)
class Report:
    """Collection of findings; a finding that an alias repeats is kept once."""

    document: Document
    step_keys: frozenset[str] = frozenset()
    """The keys that a step can have at all."""
    malformed: set[int] = field(default_factory=set)
    """Ids of nodes whose shape is wrong: the meaning layer skips them."""
    partly_malformed: set[int] = field(default_factory=set)
    """Ids of mappings that contain, at any depth, a node whose shape is wrong."""
    intended: dict[int, dict[str, Node]] = field(default_factory=dict)
    """For a mapping (by id): our keys that a foreign or mistyped key stands for."""
    _findings: dict[_Key, Diagnostic] = field(default_factory=dict)
    _places: Counter[_Key] = field(default_factory=Counter)
    """The number of times that each finding was added."""
    _results: dict[tuple[int | str, str], Any] = field(default_factory=dict)
    """Results about a node (by id) or a text, by purpose; see `once`."""
    _added_with: dict[tuple[int | str, str], list[_Key]] = field(default_factory=dict)
    """The findings that the computation of such a result added."""
    _computing: list[tuple[int | str, str]] = field(default_factory=list)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """Return the findings in the order in which they were added.

        One that an alias repeats says in how many places its text is used.
        """
        return [
            finding
            if (places := self._places[key]) == 1
            else replace(finding, message=f"{finding.message} (in {places} places)")
            for key, finding in self._findings.items()
        ]

    def add(
        self,
        code: str,
        message: str,
        at: Node | Span,
        *,
        fix: str | None = None,
        label: str | None = None,
        severity: Severity = "error",
        write: str | Replacement | None = None,
    ) -> None:
        """Add one finding at a node or a span.

        `write` is what to write there; without a `fix`, the help is made from it.
        """
        span = at if isinstance(at, Span) else self.document.span(at)
        if isinstance(write, str):
            write = Replacement(span=span, text=write)
        finding = Diagnostic(
            code=code,
            message=message,
            span=span,
            help=fix if fix or write is None else f"write {write.text}",
            label=label,
            severity=severity,
            replacement=write,
        )
        key = (code, _STEP.sub("step", message), span, label)
        self._findings.setdefault(key, finding)
        self._places[key] += 1
        if self._computing:
            self._added_with.setdefault(self._computing[-1], []).append(key)

    def once(self, subject: Node | str, purpose: str, compute: Callable[[], Result]) -> Result:
        """Compute a result once for each node or text: an alias repeats the same node."""
        key = (subject if isinstance(subject, str) else id(subject), purpose)
        if key in self._results:
            self._places.update(self._added_with.get(key, ()))
        else:
            self._computing.append(key)
            self._results[key] = compute()
            self._computing.pop()
        result: Result = self._results[key]
        return result

    def value(self, mapping: MappingNode, key: str) -> Node | None:
        """Return the value of a key whose shape is right, or None."""
        entry = mapping.entries.get(key)
        if entry is None or not self.usable(entry[1]):
            return None
        return entry[1]

    def written(self, mapping: MappingNode, key: str) -> Node | None:
        """Return the value of a key, or of a word that stands for it, whatever its shape."""
        return mapping.get(key) or self.intended.get(id(mapping), {}).get(key)

    def text(self, mapping: MappingNode, key: str) -> str | None:
        """Return the text of a key, or None when it is absent, null or wrong."""
        node = self.value(mapping, key)
        return node.value if isinstance(node, ScalarNode) and isinstance(node.value, str) else None

    def usable(self, node: Node) -> bool:
        """Return true if no finding concerns the node so far."""
        return id(node) not in self.malformed and id(node) not in self.document.broken

    def has(self, mapping: MappingNode, key: str) -> bool:
        """Return true if the mapping has a key, or a word that stands for it."""
        return key in mapping.entries or key in self.intended.get(id(mapping), {})


def describe(path: Path) -> str:
    """Describe the part of the flow that a path of keys leads to."""
    match path:
        case ():
            return "the flow"
        case ("steps" | "finally", step):
            return f'step "{step}"'
        case ("steps" | "finally", step, "wait", "form", name, *rest):
            inner = f"{'.'.join(rest)} of " if rest else ""
            return f'{inner}form field "{name}" of step "{step}"'
        case ("steps" | "finally", step, *rest):
            return f'{".".join(rest)} of step "{step}"'
        case ("input", name):
            return f'input field "{name}"'
        case ("input", name, *rest):
            return f'{".".join(rest)} of input field "{name}"'
        case ("labels", name):
            return f'label "{name}"'
        case ("schedule", "item"):
            return "a schedule"
        case ("schedule", "item", *rest) | ("schedule", *rest) if rest:
            return f"{'.'.join(rest)} of a schedule"
        case _:
            return ".".join(path)


def quoted(text: str) -> str:
    """Quote a text of the file for a message; shorten it when it is long."""
    return f'"{text if len(text) <= 60 else text[:60] + "…"}"'
