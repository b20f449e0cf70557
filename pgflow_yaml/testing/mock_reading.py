"""Read the `mocks` of a test file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.language.source import MappingNode, ScalarNode, SequenceNode
from pgflow_yaml.testing.model import Decision, Mock, Play, Raised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.language.source import Node
    from pgflow_yaml.testing.nodes import Nodes

DECISIONS = ("event", "approve", "reject")
OUTCOMES = ("output", "raises", *DECISIONS)
PLAY_KEYS = (*OUTCOMES, "sleep")
MOCK_KEYS = (*PLAY_KEYS, "items", "mocks")
RAISES_KEYS = ("type", "message", "delay")
DECISION_TEXTS = ("by", "comment")
DECISION_KEYS = (*DECISION_TEXTS, "data")
REAL = "real"
_CLASS = re.compile(r"([A-Za-z_][A-Za-z0-9_]*\.)*[A-Za-z_][A-Za-z0-9_]*")


def read_mocks(nodes: Nodes, node: Node) -> dict[str, Mock]:
    """Return the mocks by the name of the step."""
    return {
        slug: _mock(nodes, mock, f'the mock of step "{slug}"')
        for slug, (_, mock) in nodes.mapping(node, "`mocks`").items()
    }


def _mock(nodes: Nodes, node: Node, what: str) -> Mock:
    """Return the mock of a step: one play, a list of plays, or plays for single items."""
    if isinstance(node, SequenceNode):
        if not node.items:
            nodes.report.add("PF501", f"{what} must not be empty", node)
        return Mock(node=node, plays=tuple(_play(nodes, item, what) for item in node.items))
    if not isinstance(node, MappingNode):
        return Mock(node=node, plays=(_play(nodes, node, what),))
    entries = nodes.mapping(node, what, known=MOCK_KEYS, filled=True)
    items = _items(nodes, entries["items"][1], what) if "items" in entries else {}
    mocks = read_mocks(nodes, entries["mocks"][1]) if "mocks" in entries else {}
    plays = (_play(nodes, node, what, MOCK_KEYS),) if entries.keys() & set(PLAY_KEYS) else ()
    return Mock(node=node, plays=plays, items=items, mocks=mocks)


def _items(nodes: Nodes, node: Node, what: str) -> dict[int, Mock]:
    if isinstance(node, SequenceNode):
        return {i: _mock(nodes, item, f"{what}, item {i}") for i, item in enumerate(node.items)}
    items = {}
    for key, (key_node, value) in nodes.mapping(node, f"`items` of {what}").items():
        if not key.isdecimal():
            fix = "write the index of the item, which counts from 0"
            nodes.report.add("PF504", f'"{key}" is not the index of an item', key_node, fix=fix)
            continue
        items[int(key)] = _mock(nodes, value, f"{what}, item {key}")
    return items


def _play(nodes: Nodes, node: Node, what: str, known: Sequence[str] = PLAY_KEYS) -> Play:
    if isinstance(node, ScalarNode) and node.value == REAL:
        return Play(node=node, real=True)
    if not isinstance(node, MappingNode):
        fix = "write {output: …}, {raises: ClassName}, or the word real for its own handler"
        nodes.wrong_type(node, what, "a mapping", fix=fix)
        return Play(node=node)
    entries = nodes.mapping(node, what, known=known, filled=True)
    outcomes = [key for key in OUTCOMES if key in entries]
    if len(outcomes) > 1:
        message = f"{what} has {' and '.join(outcomes)}, but one call has one outcome"
        fix = f"write a list, one entry a call: [{{{outcomes[0]}: …}}, {{{outcomes[1]}: …}}]"
        nodes.report.add("PF504", message, entries[outcomes[1]][0], fix=fix)
    decision = next((key for key in DECISIONS if key in entries), None)
    return Play(
        node=node,
        sleep=nodes.duration(entries["sleep"][1], "`sleep`") if "sleep" in entries else 0,
        output=entries["output"][1].data() if "output" in entries else None,
        raises=_raises(nodes, entries["raises"][1]) if "raises" in entries else None,
        decision=_decision(nodes, decision, entries[decision][1]) if decision else None,
    )


def _raises(nodes: Nodes, node: Node) -> Raised:
    if not isinstance(node, MappingNode):
        return Raised(type=_class(nodes, node), message="raised by the test")
    entries = nodes.mapping(node, "`raises`", known=RAISES_KEYS, required=("type",))
    message = entries["message"][1].data() if "message" in entries else "raised by the test"
    delay = nodes.duration(entries["delay"][1], "`delay`") if "delay" in entries else None
    type_ = _class(nodes, entries["type"][1]) if "type" in entries else ""
    if delay is not None and type_ != "RetryLater":
        fix = "remove it, or write `type: RetryLater`"
        nodes.report.add("PF504", "only RetryLater has a `delay`", entries["delay"][0], fix=fix)
    return Raised(type=type_, message=str(message), delay=delay)


def _class(nodes: Nodes, node: Node) -> str:
    """Return the name of an exception class without its module, as in `error.type`."""
    text = nodes.text(node, "the exception") or ""
    if text and not _CLASS.fullmatch(text):
        fix = 'write {type: ClassName, message: "…"}'
        nodes.report.add("PF504", f'"{text}" is not the name of a class', node, fix=fix)
    return text.rpartition(".")[2]


def _decision(nodes: Nodes, kind: str, node: Node) -> Decision:
    if kind == "event":
        return Decision(kind=kind, data=node.data())
    if isinstance(node, ScalarNode) and node.value in (True, None):
        return Decision(kind=kind)
    entries = nodes.mapping(node, f"`{kind}`", known=DECISION_KEYS)
    by, comment = (
        nodes.text(entries[key][1], f"`{key}`") if key in entries else None
        for key in DECISION_TEXTS
    )
    data = entries["data"][1].data() if "data" in entries else None
    return Decision(kind=kind, by=by, comment=comment, data=data)
