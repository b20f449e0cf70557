"""Position in a flow's text of the expression that failed in a run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.errors import Diagnostic
from pgflow_yaml.language import expressions, source
from pgflow_yaml.language.source import Document, MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.language.validation.names import ROOTS
from pgflow_yaml.language.validation.positions import flow_node, step_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.errors import Span

_LOCATION = re.compile(
    r"(if|map|with|output|repeat\.until|retry\.if|wait\.for|wait\.until)(?:: |(?= needs ))"
)
_CULPRIT = re.compile(r"`([^`]+)`|\b([a-z_]+)\(\)")
_TEMPLATE = re.compile(r"\$\{\{")


def error_finding(text: str, *, flow: str, step: str | None, message: str) -> Diagnostic | None:
    """Turn an ExpressionError of a run into a finding in the file of its flow.

    `step` is None for the flow's own `output`. Where a value has several expressions, the operator
    or function that the message names selects one; otherwise the caret marks the whole value.
    """
    location = _LOCATION.match(message)
    keys = location[1].split(".") if location else ["with"]
    document = source.parse(text)
    node = _node(flow_node(document.root, flow), step, keys)
    if node is None:
        return None
    candidates = list(_expressions(document, node))
    culprits = _culprits(message)
    matching = [span for span, words in candidates if not culprits or culprits & words]
    span = matching[0] if len(matching) == 1 else document.span(node)
    owner = f'step "{step}"' if step is not None else "output"
    reason = message[location.end() :] if location else message
    return Diagnostic(code="ExpressionError", message=f"{owner}: {reason}", span=span)


def _culprits(message: str) -> set[str]:
    """Return the operators or the function that the message names."""
    if "division by zero" in message:
        return {"/", "%"}
    culprit = _CULPRIT.search(message)
    return {culprit[1] or culprit[2]} if culprit else set()


def _node(root: Node | None, step: str | None, keys: list[str]) -> Node | None:
    holders = [root if step is None else step_node(root, step)]
    if keys[0] == "retry" and isinstance(root, MappingNode):
        holders.append(root.get("defaults"))
    for holder in holders:
        node = holder
        for key in keys:
            node = node.get(key) if isinstance(node, MappingNode) else None
        if node is not None:
            return node
    return None


def _expressions(document: Document, node: Node) -> Iterator[tuple[Span, set[str]]]:
    """Yield each expression below a node: its span, and the operators and functions in it."""
    if isinstance(node, MappingNode):
        for _, value in node.entries.values():
            yield from _expressions(document, value)
    elif isinstance(node, SequenceNode):
        for item in node.items:
            yield from _expressions(document, item)
    elif isinstance(node.value, str):
        yield from _in_text(document, node)


def _in_text(document: Document, node: ScalarNode) -> Iterator[tuple[Span, set[str]]]:
    text = node.text
    starts = [opening.start() for opening in _TEMPLATE.finditer(text)]
    if not starts:
        yield document.part(node, 0, len(text)), _words(text)
    for start, following in zip(starts, [*starts[1:], len(text)], strict=False):
        end = text.rfind("}}", start, following) + 2
        if end > start:
            yield document.part(node, start, end), _words(text[start:end])


def _words(text: str) -> set[str]:
    try:
        tree = expressions.parse_expression(text, roots=ROOTS).ast
    except expressions.InvalidExpression:
        return set()
    words: set[str] = set()
    pending = [tree]
    while pending:
        part = pending.pop()
        if isinstance(part, list) and part and part[0] != "lit":
            words.add(str(part[1] if part[0] == "call" else part[0]))
            pending += part[1:]
    if "neg" in words:
        words.add("-")
    return words
