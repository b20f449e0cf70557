"""Build the tree from the events of the YAML parser, within the limits of S-2."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import yaml

from pgflow_yaml.errors import Diagnostic, Replacement
from pgflow_yaml.language.source.nodes import Document, MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.language.source.scalars import kind_of, plain_value, quote
from pgflow_yaml.language.source.syntax import negation

if TYPE_CHECKING:
    from collections.abc import Callable

    from yaml._yaml import Mark as CMark

# S-2: the limits of a file, aliases expanded. Many short nodes are harmless, many long texts not.
MAX_DEPTH = 64
MAX_NODES = 50_000
MAX_SCALAR = 256 * 1024
MAX_EXPANDED = 4 * 1024 * 1024
_SHOWN = 40
_NO_SPACE = re.compile("[^\\S \\t\\r\\n]|[\\u200b\\u2060\\ufeff：]")
_PROPERTY = re.compile(r"(?:![^\s,\[\]{}]*|&[^\s,\[\]{}]+)\s*")


class Stop(Exception):
    """Raised to stop reading the text, with the finding that says why."""

    def __init__(self, finding: Diagnostic) -> None:
        self.finding = finding
        super().__init__(finding.message)


@dataclass(slots=True, eq=False)
class _Open:
    """Collection that is still open: the counts before it, and the key without a value yet."""

    node: MappingNode | SequenceNode
    anchor: str | None
    nodes_before: int
    size_before: int
    height: int = 1
    key: ScalarNode | None = None
    skip_value: bool = False


@dataclass(slots=True, frozen=True)
class _Anchored:
    node: Node
    nodes: int
    size: int
    height: int


class Builder:
    """Builder of the tree, with one method for each kind of event."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.open: list[_Open] = []
        self.anchors: dict[str, _Anchored | None] = {}
        self.nodes = 0
        self.size = 0
        self.tagged = False

    def run(self) -> None:
        """Read all events of the first document."""
        parser = yaml.CSafeLoader(self.document.text)
        actions: dict[type[yaml.Event], Callable[[Any], None]] = {
            yaml.ScalarEvent: self.scalar,
            yaml.MappingStartEvent: self.begin,
            yaml.SequenceStartEvent: self.begin,
            yaml.MappingEndEvent: self.finish,
            yaml.SequenceEndEvent: self.finish,
            yaml.AliasEvent: self.alias,
        }
        while (event := parser.get_event()) is not None:
            action = actions.get(type(event))
            if action is not None:
                action(event)
            elif isinstance(event, yaml.DocumentStartEvent) and self.document.root is not None:
                start = _index(event.start_mark)
                message = "a second YAML document begins here; a file holds one flow"
                span = (start, start + 3)
                self.report("PF017", message, span, "move it to a file of its own")
                return

    def scalar(self, event: yaml.ScalarEvent) -> None:
        """Add a scalar with its core schema value."""
        start, end = _index(event.start_mark), _index(event.end_mark)
        text: str = event.value
        self.count(len(text), start)
        if len(text) > MAX_SCALAR:
            fix = "pass large data as the run's input, or let a step read it"
            message = "this text is longer than 256 KB"
            raise Stop(self.finding("PF012", message, (start, start + 1), fix))
        style: str = event.style or ""
        start = self.after_properties(event, start)
        if "\x00" in text:
            fix = "remove it: PostgreSQL cannot store it"
            self.report("PF013", "a text cannot hold the character U+0000", (start, end), fix)
        value = text if style else self.plain(text, start, end)
        node = ScalarNode(start, max(start, end), value, text, style)
        self.mark_broken(node)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(node, 1, len(text), 1)
        self.add(node, event)

    def begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        """Open a collection."""
        start = _index(event.start_mark)
        self.count(1, start)
        if len(self.open) >= MAX_DEPTH:
            raise Stop(self.too_deep(start))
        start = self.after_properties(event, start)
        kind = MappingNode if isinstance(event, yaml.MappingStartEvent) else SequenceNode
        node = kind(start, start)
        self.mark_broken(node)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.open.append(_Open(node, event.anchor, self.nodes - 1, self.size - 1))

    def finish(self, event: yaml.Event) -> None:
        """Close a collection and add it to the one around it."""
        done = self.open.pop()
        done.node.end = _index(event.end_mark)
        if done.anchor is not None:
            self.anchors[done.anchor] = _Anchored(
                done.node, self.nodes - done.nodes_before, self.size - done.size_before, done.height
            )
        if self.open:
            self.open[-1].height = max(self.open[-1].height, done.height + 1)
        self.add(done.node, event)

    def alias(self, event: yaml.AliasEvent) -> None:
        """Add the node that an alias names, counted as if it were written again."""
        start, end, name = _index(event.start_mark), _index(event.end_mark), event.anchor
        if name not in self.anchors:
            known = ", ".join(f"&{anchor}" for anchor in self.anchors) or "none so far"
            message = f"the alias *{name} names no anchor above it"
            raise Stop(self.finding("PF018", message, (start, end), f"anchors above it: {known}"))
        anchored = self.anchors[name]
        if anchored is None:
            message = f"the alias *{name} lies inside its own anchor, so it would never end"
            raise Stop(self.finding("PF018", message, (start, end), "write the value out"))
        self.count(anchored.size, start, nodes=anchored.nodes)
        if len(self.open) + anchored.height > MAX_DEPTH:
            raise Stop(self.too_deep(start))
        if self.open:
            self.open[-1].height = max(self.open[-1].height, anchored.height + 1)
        self.add(anchored.node, event)

    def add(self, node: Node, event: yaml.Event) -> None:
        """Add a finished node to the tree: as the root, an item, a key or a value."""
        if not self.open:
            self.document.root = node
            return
        parent = self.open[-1]
        if isinstance(parent.node, SequenceNode):
            parent.node.items.append(node)
        elif parent.key is None and not parent.skip_value:
            self.key(parent, node, event)
        else:
            if parent.key is not None and not parent.skip_value:
                parent.node.entries[parent.key.text] = (parent.key, node)
            parent.key, parent.skip_value = None, False

    def key(self, parent: _Open, node: Node, event: yaml.Event) -> None:
        """Use a node as key; an invalid key is reported and its value left out."""
        parent.skip_value = True
        entries = cast("MappingNode", parent.node).entries
        if not isinstance(node, ScalarNode):
            self.collection_as_key(node)
            self.document.broken.add(id(parent.node))
        elif not node.style and (match := _NO_SPACE.search(node.text)) is not None:
            self.no_space(match[0], node.start + match.start())
            self.document.broken.add(id(parent.node))
        elif node.text == "<<" and not node.style:
            span = (node.start, node.end)
            fix = "use `defaults:`, or an alias for a whole value"
            self.report("PF015", "merge keys (`<<`) are not part of YAML 1.2", span, fix)
        elif not isinstance(node.value, str) and not isinstance(event, yaml.AliasEvent):
            shown = node.text or "(empty)"
            message = f"the key {shown} is {kind_of(node.value)}, but keys are texts"
            span, write = (node.start, node.end), f'"{node.text}"'
            self.report("PF016", message, span, f"put it in quotes: {write}", write=write)
        elif node.text in entries:
            first, _ = self.document.lines.position(entries[node.text][0].start)
            again, _ = self.document.lines.position(node.start)
            message = f'the key "{node.text}" stands twice here, in line {first} and line {again}'
            fix = f"keep one of the two; the first is in line {first}"
            self.report("PF011", message, (node.start, node.end), fix)
        else:
            parent.key, parent.skip_value = node, False

    def no_space(self, character: str, at: int) -> None:
        """Report a character that looks like a space or a colon, and made a text of its line."""
        ours = ":" if character == "：" else " " if character.isspace() else ""
        name = unicodedata.name(character, "a space")
        message = f"U+{ord(character):04X} ({name}) is part of this key"
        noun = {":": "an ordinary colon", " ": "an ordinary space"}.get(ours)
        fix = f"write {noun}" if noun else "remove it"
        fix += ", or put the key in quotes if it is meant"
        self.report("PF013", message, (at, at + 1), fix, write=ours)

    def collection_as_key(self, node: Node) -> None:
        """Report a collection as key, often `{{ x }}`."""
        text = self.document.text
        written = text[node.start : node.end]
        if written.startswith("{") and text[: node.start].endswith("{"):
            write = quote(f"${{{{ {written.strip('{} ')} }}}}")
            message = "`{{ … }}` without `$` is a YAML mapping, not a template"
            span = (node.start - 1, min(node.end + 1, len(text)))
            self.report("PF021", message, span, f"write {write}", write=write)
            return
        message = "a list or mapping cannot be a key"
        self.report("PF016", message, (node.start, node.start + 1), "use a text")

    def after_properties(
        self, event: yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent, start: int
    ) -> int:
        """Return the index of the value itself, after its anchor and its tag; report a tag."""
        text = self.document.text
        if event.anchor is None and event.tag is None:
            return start
        while text[start : start + 1] in ("&", "!"):
            if text[start] == "!":
                self.tag(start, _index(event.end_mark))
                self.tagged = True
            match = _PROPERTY.match(text, start)
            start = match.end() if match else start + 1
        return start

    def tag(self, start: int, end: int) -> None:
        """Report a tag, which is often an expression that begins with `!`."""
        match = re.compile(r"![^\s,\[\]{}]*").match(self.document.text, start)
        span = (start, match.end() if match else end)
        written = self.document.text[slice(*span)]
        if re.fullmatch(r"!(?:input|steps|item|index|run)\b.*", written):
            found = negation(written, self.document.lines.span(*span))
            self.document.diagnostics.append(found)
            return
        message = f"the tag {written} is not allowed: values have the types of JSON"
        fix = "remove it; put a text in quotes if it must begin with `!`"
        self.report("PF014", message, span, fix)

    def mark_broken(self, node: Node) -> None:
        """Exclude a value whose tag was reported from all further checks."""
        if self.tagged:
            self.document.broken.add(id(node))
            self.tagged = False

    def plain(self, text: str, start: int, end: int) -> str | int | float | bool | None:
        """Return the value of a plain scalar; report an invalid or surprising one."""
        scalar = plain_value(text)
        if scalar.error is not None:
            write = quote(text) if len(text) <= _SHOWN else None
            fix = f"for a text write {quote(text[:_SHOWN])}"
            self.report("PF019", scalar.error, (start, end), fix, write=write)
        if scalar.warning is not None:
            span = self.document.lines.span(start, end)
            warning = Diagnostic(
                code="PF022",
                message=scalar.warning,
                span=span,
                severity="warning",
                help=f'if it is a text, a version or a code, write "{text}"',
            )
            self.document.diagnostics.append(warning)
        return scalar.value

    def count(self, size: int, start: int, *, nodes: int = 1) -> None:
        """Count nodes and characters with every alias written out; raise Stop at a limit."""
        self.nodes += nodes
        self.size += size
        if self.nodes > MAX_NODES:
            message = f"the file grows beyond {MAX_NODES:,} values here, aliases written out"
            fix = "pass large data as the run's input, or split the flow"
            raise Stop(self.finding("PF012", message, (start, start + 1), fix))
        if self.size > MAX_EXPANDED:
            message = "the file grows beyond 4 MiB of text here, aliases written out"
            fix = "pass large data as the run's input, or let a step read it"
            raise Stop(self.finding("PF012", message, (start, start + 1), fix))

    def too_deep(self, start: int) -> Diagnostic:
        """Return the finding about values that are nested too deeply."""
        message = f"values are nested deeper than {MAX_DEPTH} levels here"
        return self.finding("PF012", message, (start, start + 1), "flatten the structure")

    def finding(
        self, code: str, message: str, span: tuple[int, int], fix: str | None = None
    ) -> Diagnostic:
        """Return a diagnostic; `span` has the first index in the text and the index after it."""
        lines = self.document.lines
        return Diagnostic(code=code, message=message, span=lines.span(*span), help=fix)

    def report(
        self,
        code: str,
        message: str,
        span: tuple[int, int],
        fix: str,
        *,
        write: str | None = None,
    ) -> None:
        """Add a finding and continue; `write` is the text to write over it, where that ends it."""
        found = self.finding(code, message, span, fix)
        if write is not None and found.span is not None:
            found = replace(found, replacement=Replacement(span=found.span, text=write))
        self.document.diagnostics.append(found)


def _index(mark: yaml.Mark | CMark | None) -> int:
    return mark.index if mark is not None else 0
