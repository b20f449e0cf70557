"""Read nodes of an expected kind, and report others at their position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language import durations
from pgflow_yaml.language.source import MappingNode, ScalarNode
from pgflow_yaml.language.source.scalars import kind_of
from pgflow_yaml.language.suggestions import closest, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.language.source import Node
    from pgflow_yaml.language.validation.findings import Report

    Entries = dict[str, tuple[ScalarNode, Node]]

# Names of our keys in other test tools.
_FOREIGN = {
    "tests": "cases",
    "scenarios": "cases",
    "given": "input",
    "inputs": "input",
    "when": "mocks",
    "mock": "mocks",
    "stubs": "mocks",
    "then": "expect",
    "expected": "expect",
    "expects": "expect",
    "assert": "expect",
    "result": "output",
    "return": "output",
    "returns": "output",
    "return_value": "output",
    "side_effect": "raises",
    "throws": "raises",
    "error": "raises",
    "exception": "raises",
    "delay": "sleep",
    "after": "sleep",
    "wait": "sleep",
    "duration": "sleep",
    "time": "now",
    "clock": "now",
}


class Nodes:
    """Reader of nodes that reports invalid ones; `what` names a node in messages."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def mapping(
        self,
        node: Node,
        what: str,
        *,
        known: Sequence[str] = (),
        required: Sequence[str] = (),
        filled: bool = False,
    ) -> Entries:
        """Return the entries of a mapping; report keys other than `known` (if any) and `x-…`."""
        if not isinstance(node, MappingNode):
            self.wrong_type(node, what, "a mapping")
            return {}
        if filled and not node.entries:
            self.report.add("PF501", f"{what} must not be empty", node)
        for key, _ in node.entries.values():
            if known and key.text not in known and not key.text.startswith("x-"):
                self._unknown(key, what, known)
        for name in required:
            if name not in node.entries:
                first = next(iter(node.entries.values()), None)
                at = first[0] if first else node
                self.report.add("PF501", f'{what} has no "{name}"', at, fix=f"add `{name}:`")
        return node.entries

    def text(self, node: Node, what: str) -> str | None:
        """Return a text, or None."""
        if isinstance(node, ScalarNode) and isinstance(node.value, str) and node.value:
            return node.value
        fix = f'put it in quotes: "{node.text}"' if isinstance(node, ScalarNode) else None
        self.wrong_type(node, what, "a text", fix=fix)
        return None

    def choice(self, node: Node, what: str, choices: Sequence[str]) -> None:
        """Report a node that is not one of a few words."""
        text = node.text if isinstance(node, ScalarNode) else ""
        if text in choices:
            return
        if not isinstance(node, ScalarNode):
            self.wrong_type(node, what, f"one of {', '.join(choices)}")
            return
        message = f'{what} cannot be "{text}"{did_you_mean(text, choices)}'
        self.report.add("PF504", message, node, fix=f"one of {', '.join(choices)}")

    def duration(self, node: Node, what: str) -> int:
        """Return a duration in milliseconds; 0 when it is invalid."""
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, str | int | float):
            milliseconds = durations.milliseconds(value)
            if milliseconds is not None:
                return milliseconds
        meant = durations.suggestion(value) if isinstance(value, str) else None
        fix = f"write {meant}" if meant else "write a number of seconds, or 30s, 5m, 2h, 7d"
        self.report.add("PF504", f"{what} is not a duration", node, fix=fix)
        return 0

    def wrong_type(self, node: Node, what: str, expected: str, *, fix: str | None = None) -> None:
        """Report a node of the wrong kind."""
        empty = isinstance(node, ScalarNode) and not node.text and not node.style
        kind = kind_of(node.value if isinstance(node, ScalarNode) else node.data())
        message = f"{what} must be {expected}, {'but is empty' if empty else f'not {kind}'}"
        self.report.add("PF503", message, node, fix=fix)

    def _unknown(self, key: ScalarNode, what: str, known: Sequence[str]) -> None:
        word = key.text
        ours = _FOREIGN.get(word.lower())
        if ours in known:
            message = f'"{word}" in {what} is called "{ours}" here'
            self.report.add("PF502", message, key, fix=f"write `{ours}:`")
            return
        meant = closest(word, known)
        fix = f"write {meant}" if meant else f"known keys: {', '.join(known)}"
        hint = f'; did you mean "{meant}"?' if meant else ""
        self.report.add("PF502", f'unknown key "{word}" in {what}{hint}', key, fix=fix)
