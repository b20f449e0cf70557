"""Fixes for values of the wrong type, where the path says more than the type does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.errors import Replacement
from pgflow_yaml.language import durations
from pgflow_yaml.language.source import MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.language.source.scalars import quote

if TYPE_CHECKING:
    from pgflow_yaml.language.source import Document
    from pgflow_yaml.language.validation.findings import Path

_TYPES = ("string", "integer", "number", "boolean", "object", "array")
# What would end a plain text of YAML, or make it something else: anywhere, and at its beginning.
_SPECIAL = re.compile(r"[][{}:,#]")
_SPECIAL_FIRST = re.compile(r"""[-?&*|>'"%@`!]""")
DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")


def edited(document: Document, node: ScalarNode, edit: tuple[int, int, str]) -> Replacement:
    """Return an edit of a scalar's text as an edit of the file, in the style of the scalar.

    A plain text becomes a quoted one where the new characters could mean something to YAML.
    """
    start, end, text = edit
    if not node.style and (_SPECIAL.search(text) or (start == 0 and _SPECIAL_FIRST.match(text))):
        whole = node.text[:start] + text + node.text[end:]
        return Replacement(span=document.span(node), text=quote(whole))
    if node.style == "'":
        text = text.replace("'", "''")
    elif node.style == '"':
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return Replacement(span=document.part(node, start, end), text=text)


def without_space(document: Document, node: ScalarNode) -> Replacement | None:
    """Return the edit that leaves out white space around the text of a scalar, if there is one."""
    if node.style not in ("|", ">"):
        return edited(document, node, (0, len(node.text), node.text.strip()))
    header = re.compile(r"[|>][-+0-9]*").match(document.text, node.start)
    if header is None or node.text.strip() != node.text.rstrip("\n"):
        return None
    indent = re.sub(r"[^0-9]", "", header.group())
    span = document.lines.span(*header.span())
    return Replacement(span=span, text=f"{node.style}{indent}-")


Fix = tuple[str, str | None]
"""Help, and the text to write over the value where that is the fix."""


def fix_by_path(node: Node, path: Path) -> Fix | None:
    """Return the fix for a value at this path, or None."""
    whole = _entry(node, path)
    if whole is not None:
        return f"write `{path[-1]}: {whole}`", whole
    words = _words(node, path)
    return None if words is None else (words, None)


def _entry(node: Node, path: Path) -> str | None:
    """Return the value to write at this path, where the wrong one tells it; else None."""
    text = node.text if isinstance(node, ScalarNode) else ""
    match path:
        case ("steps" | "finally", _) if DOTTED.fullmatch(text):
            return f"{{handler: {text}}}"
        case ("steps" | "finally", _, "depends_on") if text:
            return f"[{text}]"
        case ("steps" | "finally", _, "wait"):
            known = durations.milliseconds(text) is not None
            delay = text if known else durations.suggestion(text)
            return f"{{for: {delay}}}" if delay else None
        case ("retention",) | ("retention", _) if text == "false":
            return "off"
        case ("input", _) if text in _TYPES:
            return f"{{type: {text}}}"
    return None


def _words(node: Node, path: Path) -> str | None:
    text = node.text if isinstance(node, ScalarNode) else ""
    match path:
        case ():
            return "begin with `flow: my_flow` and `steps:`"
        case ("steps" | "finally" as section,):
            entry = "`NAME: {handler: package.module.function}`"
            return f"write {entry} for each step under `{section}:`"
        case ("steps" | "finally", name):
            return f"write `{name}: {{handler: package.module.function}}`"
        case ("steps" | "finally", _, key, *_):
            return _fix_in_step(node, path, key)
        case ("input", *_):
            return _fix_in_input(text, path)
        case ("retention",) | ("retention", _):
            return "write 30d, or off"
        case ("labels",):
            return "write `labels: {name: value}`"
    return None


def _fix_in_step(node: Node, path: Path, key: str) -> str | None:
    nested = len(path) > 3
    if key == "depends_on" and nested and isinstance(node, MappingNode) and node.entries:
        edges = [f"{name}: {_outcome(value)}" for name, (_, value) in node.entries.items()]
        return f"write one mapping: `depends_on: {{{', '.join(edges)}}}`"
    if key == "depends_on" and nested:
        return "name one step per item" if path[3] == "item" else "write success, failure or any"
    if path[-1] in ("if", "until") and isinstance(node, SequenceNode):
        return "an expression that begins with [ must be put in quotes"
    if key == "wait" and not nested:
        return "write `wait: {event: NAME}`"
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
