"""Fixes for values of the wrong type, where the path says more than the type does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.language import durations
from pgflow_yaml.language.source import MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from pgflow_yaml.language.validation.findings import Path

DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")


def fix_by_path(node: Node, path: Path) -> str | None:
    """Return the fix for a value at this path, or None."""
    text = node.text if isinstance(node, ScalarNode) else ""
    match path:
        case ():
            return "begin with `flow: my_flow` and `steps:`"
        case ("steps" | "finally" as section,):
            entry = "`NAME: {handler: package.module.function}`"
            return f"write {entry} for each step under `{section}:`"
        case ("steps" | "finally", name):
            handler = text if DOTTED.fullmatch(text) else "package.module.function"
            return f"write `{name}: {{handler: {handler}}}`"
        case ("steps" | "finally", _, key, *_):
            return _fix_in_step(node, text, path, key)
        case ("input", *_):
            return _fix_in_input(text, path)
        case ("labels",):
            return "write `labels: {name: value}`"
    return None


def _fix_in_step(node: Node, text: str, path: Path, key: str) -> str | None:
    nested = len(path) > 3
    if key == "depends_on" and nested and isinstance(node, MappingNode) and node.entries:
        edges = [f"{name}: {_outcome(value)}" for name, (_, value) in node.entries.items()]
        return f"write one mapping: `depends_on: {{{', '.join(edges)}}}`"
    if key == "depends_on" and nested:
        return "name one step per item" if path[3] == "item" else "write success, failure or any"
    if key == "depends_on" and text:
        return f"write `depends_on: [{text}]`"
    if path[-1] in ("if", "until") and isinstance(node, SequenceNode):
        return "an expression that begins with [ must be put in quotes"
    if key == "wait" and not nested:
        delay = text if durations.milliseconds(text) is not None else durations.suggestion(text)
        return f"write `wait: {{for: {delay}}}`" if delay else "write `wait: {event: NAME}`"
    if key == "repeat" and not nested:
        return "write `repeat: {until: output.ready, every: 10s}`"
    if key == "tolerate":
        return 'write a number of items, or a share: "5%"'
    return None


def _outcome(node: Node) -> str:
    return node.text if isinstance(node, ScalarNode) and node.text else "success"


def _fix_in_input(text: str, path: Path) -> str | None:
    if len(path) == 2:
        return f"write `{path[1]}: {{type: {text or 'string'}}}`"
    if path[2:] == ("required",):
        return "remove it: a field without `default` is required"
    return "write a list: `enum: [a, b]`" if path[-1] == "enum" else None
