"""How to write a value that has the wrong type, where the place tells more than the type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.language import durations
from pgflow_yaml.language.source import MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from pgflow_yaml.language.validation.findings import Path

DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")


def fix_by_place(node: Node, path: Path) -> str | None:
    """Return the fix that fits the place, or None."""
    text = node.text if isinstance(node, ScalarNode) else ""
    match path:
        case ():
            return "begin with `flow: my_flow` and `steps:`"
        case ("steps" | "finally" as section,):
            what = "`NAME: {handler: package.module.function}`"
            return f"write {what} for each step under `{section}:`"
        case ("steps" | "finally", name):
            handler = text if DOTTED.fullmatch(text) else "package.module.function"
            return f"write `{name}: {{handler: {handler}}}`"
        case ("steps" | "finally", _, key, *_):
            return _of_step(node, text, path, key)
        case ("input", *_):
            return _of_input(text, path)
        case ("labels",):
            return "write `labels: {name: value}`"
    return None


def _of_step(node: Node, text: str, path: Path, key: str) -> str | None:
    deeper = len(path) > 3
    if key == "depends_on" and deeper and isinstance(node, MappingNode) and node.entries:
        edges = [f"{name}: {_edge(value)}" for name, (_, value) in node.entries.items()]
        return f"write one mapping: `depends_on: {{{', '.join(edges)}}}`"
    if key == "depends_on" and deeper:
        return "name one step per item" if path[3] == "item" else "write success, failure or any"
    if key == "depends_on" and text:
        return f"write `depends_on: [{text}]`"
    if path[-1] in ("if", "until") and isinstance(node, SequenceNode):
        return "an expression that begins with [ must be put in quotes"
    if key == "wait" and not deeper:
        meant = text if durations.milliseconds(text) is not None else durations.suggestion(text)
        return f"write `wait: {{for: {meant}}}`" if meant else "write `wait: {event: NAME}`"
    if key == "repeat" and not deeper:
        return "write `repeat: {until: output.ready, every: 10s}`"
    if key == "tolerate":
        return 'write a number of items, or a share: "5%"'
    return None


def _edge(node: Node) -> str:
    return node.text if isinstance(node, ScalarNode) and node.text else "success"


def _of_input(text: str, path: Path) -> str | None:
    if len(path) == 2:
        return f"write `{path[1]}: {{type: {text or 'string'}}}`"
    if path[2:] == ("required",):
        return "remove it: a field without `default` is required"
    return "write a list: `enum: [a, b]`" if path[-1] == "enum" else None
