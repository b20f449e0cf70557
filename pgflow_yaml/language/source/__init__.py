"""Parse YAML 1.2 text into a tree of nodes with their positions; no other objects are made.

PyYAML's C parser yields events. One pass over them builds the tree within the limits of S-2, so
that a YAML bomb is refused before it is expanded. Scalars follow the YAML 1.2 core schema.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

import yaml

from pgflow_yaml.errors import Diagnostic
from pgflow_yaml.language.positions import Lines
from pgflow_yaml.language.source.builder import Builder, Stop
from pgflow_yaml.language.source.nodes import Document, MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.language.source.syntax import explain

__all__ = ["Document", "MappingNode", "Node", "ScalarNode", "SequenceNode", "decode", "parse"]

MAX_BYTES = 1024 * 1024
# Characters that YAML does not call printable, the byte order mark, and lone surrogates.
_FORBIDDEN = re.compile(
    "[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def decode(content: bytes) -> tuple[str, Diagnostic | None]:
    """Decode bytes as UTF-8; the second value is a finding at the first byte that is not.

    A byte order mark at the beginning is no part of the text, so that positions do not count it.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8"), None
    except UnicodeDecodeError as error:
        text = content.decode("utf-8", errors="replace")
        before = len(content[: error.start].decode("utf-8"))
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        finding = Diagnostic(
            code="PF013",
            message=f"byte 0x{content[error.start]:02x} is not UTF-8 text",
            span=Lines(text).span(before, before + 1),
            help=f"save the file as UTF-8{'; it looks like UTF-16' if wide else ''}",
        )
        return text, finding


def parse(text: str) -> Document:
    """Parse a YAML text; findings go to the `diagnostics` of the document."""
    document = Document(text=text, lines=Lines(text))
    unreadable = _unreadable(document)
    if unreadable is not None:
        document.diagnostics.append(unreadable)
        return document
    builder = Builder(document)
    try:
        builder.run()
    except yaml.MarkedYAMLError as error:
        document.root = None
        document.diagnostics = [explain(error, text=text, lines=document.lines)]
    except Stop as stop:
        document.root = None
        document.diagnostics = [stop.finding]
    return document


def _unreadable(document: Document) -> Diagnostic | None:
    text = document.text
    match = _FORBIDDEN.search(text)
    if match is not None:
        at = match.start()
        character = match.group()
        name = unicodedata.name(character, "a control character").lower()
        name = "byte order mark" if character == "\ufeff" else name
        return Diagnostic(
            code="PF013",
            message=f"U+{ord(character):04X} ({name}) cannot stand in a file",
            span=document.lines.span(at, at + 1),
            help=f'remove it; in double quotes write "{_escaped(character)}"',
        )
    if len(text) > MAX_BYTES or len(text.encode()) > MAX_BYTES:
        size = len(text.encode())
        return Diagnostic(
            code="PF012",
            message=f"the file has {size:,} bytes; a flow file may have 1 MiB ({MAX_BYTES:,})",
            span=document.lines.span(0, 1),
            help="pass large data as the run's input, or let a step read it",
        )
    return None


def _escaped(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"
