"""The place of the cursor in a file that may be half typed: the path of keys, and the word there.

A word in place of the typed one makes most half-typed files readable again; where it does not,
the indentation tells the path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

from pgflow_yaml.language.model import SECTIONS
from pgflow_yaml.language.source import MappingNode, ScalarNode, SequenceNode, parse
from pgflow_yaml.lsp.names import EXPRESSIONS
from pgflow_yaml.lsp.schema import ITEM

if TYPE_CHECKING:
    from pgflow_yaml.language.source import Node

PLACEHOLDER = "pgflow_placeholder"
_BEFORE = re.compile(r"[\w.@-]*$")
_AFTER = re.compile(r"[\w.@-]*")
_ENDS = ("", '"', "'", "}", "]", '"}', "'}", '"]')
"""Ends of a text that stops at the cursor: of what is typed, the closing half is often missing."""
_KEY = re.compile(r"( *)(?:- +)?([\w.@-]+|\"[^\"]*\"|'[^']*') *:(?: |$)")

Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Cursor of the cursor: `path` leads to the mapping of a key, or to a value."""

    path: Path
    is_key: bool
    start: int
    end: int
    word: str
    """The typed word up to the cursor; `start` and `end` are those of the whole word."""
    colon: bool
    """True if a colon follows the word already."""
    expression: str | None
    """The text of an expression up to the cursor; None outside of expressions."""
    root: MappingNode | None
    """The tree of the file with a word at this place; None if it cannot be read."""
    whole: bool
    """False if the tree ends at this place, because what follows cannot be read."""


def cursor_at(text: str, offset: int) -> Cursor:
    """Return the place of an index of a text."""
    line_start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    before = text[line_start:offset]
    word = _BEFORE.search(before)
    typed = word.group() if word else ""
    start = offset - len(typed)
    after = _AFTER.match(text, offset)
    end = after.end() if after else offset
    colon = text.startswith(":", end)
    blank = not text[line_start:start].strip()
    writings = [f"{PLACEHOLDER}: ", PLACEHOLDER] if blank else [PLACEHOLDER, f"{PLACEHOLDER}: "]
    if colon:
        writings = [PLACEHOLDER]
    for tail, writing in product((text[end:], *_ENDS), writings):
        root = parse(text[:start] + writing + tail).root
        found = _path_to(root, start)
        if found is not None and isinstance(root, MappingNode):
            path, is_key, node = found
            begin = min(line_start, node.start)
            expression = _expression(text[begin:offset], path, is_key=is_key)
            whole = tail == text[end:]
            break
    else:
        root, whole = None, False
        path, is_key = _by_indentation(text[:start])
        expression = _expression(before, path, is_key=is_key)
    return Cursor(
        path=path,
        is_key=is_key,
        start=start,
        end=end,
        word=typed,
        colon=colon,
        expression=expression,
        root=root,
        whole=whole,
    )


def path_at(root: Node | None, offset: int) -> tuple[Path, bool] | None:
    """Return the path at an index of a readable file, and true at a key; None between them."""
    found = _path_to(root, offset)
    return None if found is None else found[:2]


def flow_at(root: MappingNode | None, path: Path) -> tuple[MappingNode | None, Path]:
    """Return the innermost flow around a path, and the rest of the path in it."""
    flow, rest = root, path
    while len(rest) > 3 and rest[0] in SECTIONS and rest[2] == "flow" and flow is not None:
        inner = value_at(flow, rest[:3])
        flow, rest = inner if isinstance(inner, MappingNode) else None, rest[3:]
    return flow, rest


def value_at(root: Node | None, path: Path) -> Node | None:
    """Return the value that a path of keys leads to, or None."""
    node = root
    for key in path:
        node = node.get(key) if isinstance(node, MappingNode) else None
    return node


def _path_to(root: Node | None, offset: int) -> tuple[Path, bool, Node] | None:
    """Return path, true for a key, and node at an index: the smallest node that holds it."""
    path: Path = ()
    node = root
    while node is not None and node.start <= offset <= node.end:
        if isinstance(node, ScalarNode):
            return path, False, node
        if isinstance(node, SequenceNode):
            node = next((n for n in node.items if n.start <= offset <= n.end), None)
            path = (*path, ITEM)
            continue
        below = None
        for name, (key, value) in node.entries.items():
            if key.start <= offset <= key.end:
                return (path if name == PLACEHOLDER else (*path, name)), True, key
            if value.start <= offset <= value.end and value.start != value.end:
                below = name, value
        if below is None:
            return None
        path, node = (*path, below[0]), below[1]
    return None


def _expression(text: str, path: Path, *, is_key: bool) -> str | None:
    opened = text.rfind("${{")
    if opened >= 0 and "}}" not in text[opened:]:
        return text[opened + 3 :]
    if is_key or not path or path[-1] not in EXPRESSIONS:
        return None
    return text.partition(":")[2]


def _by_indentation(before: str) -> tuple[Path, bool]:
    """Return the path of the lines that indent less than the last one, and true for a key."""
    *above, last = before.split("\n")
    keys: list[str] = []
    match = _KEY.match(last)
    if match is not None:
        keys.append(match[2].strip("\"'"))
    indent = len(last) - len(last.lstrip(" "))
    for line in reversed(above):
        match = _KEY.match(line)
        if match is not None and len(match[1]) < indent:
            indent = len(match[1])
            keys.insert(0, match[2].strip("\"'"))
    return tuple(keys), not _KEY.match(last)
