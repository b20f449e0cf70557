"""The input of a run on the command line: JSON, `@file` or `name=value`, with located mistakes."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.errors import Diagnostic, Span
from pgflow_yaml.language.inputs import from_pairs, problems_of
from pgflow_yaml.language.json_text import NotJson, read_json
from pgflow_yaml.language.numbers import whole_input
from pgflow_yaml.language.positions import Lines
from pgflow_yaml.language.source import decode

from .failures import RefusedInput
from .pair_fixes import fix_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.language.source import Document, Node

    Spec = Mapping[str, Json] | None

CODE_UNREADABLE, CODE_REFUSED = "PF401", "PF402"
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """The text of an input, and the name of its source."""

    name: str
    text: str


def read_input(texts: Sequence[str], definition: Mapping[str, Any], *, before: Json = None) -> Json:
    """Read and check the values of --input; raises RefusedInput with a finding for each problem.

    Defaults are left out: the database fills them in. With `before`, an object, the values go over
    those in it.
    """
    whole = [text for text in texts if text.startswith(("@", "{", "["))]
    pairs = [text for text in texts if text not in whole]
    if len(whole) > 1:
        raise click.UsageError("--input takes one JSON text or @file; name=value may be repeated")
    value, where = _read_whole(whole[0]) if whole else ({}, None)
    if pairs and not isinstance(value, dict):
        raise click.UsageError("name=value can be added only to an object")
    spec: Spec = definition.get("input")
    named, problems = from_pairs(spec, pairs)
    if isinstance(value, dict):
        value = {**(before if isinstance(before, dict) else {}), **value, **named}
    refused = problems_of(definition, value)
    unread = {problem["path"] for problem in problems}
    problems += [problem for problem in refused if problem["path"] not in unread]
    if problems:
        raise _located(problems, where, pairs, spec=spec)
    return whole_input(definition, value)


def _read_whole(argument: str) -> tuple[Json, Text]:
    where = _text(argument)
    return _read(where, "the input"), where


def read_json_option(argument: str, option: str) -> Json:
    """Read the value of an option, JSON or @file; raises RefusedInput if it is not JSON."""
    return _read(_text(argument, option), option)


def _read(where: Text, subject: str) -> Json:
    try:
        return read_json(where.text)
    except NotJson as error:
        span = Lines(where.text).span(error.start, error.end) if error.end else None
        message = f"{subject} is not JSON: {error}"
        finding = Diagnostic(code=CODE_UNREADABLE, message=message, span=span)
        raise RefusedInput(where.name, where.text, [finding]) from error


def _text(argument: str, option: str = "--input") -> Text:
    if not argument.startswith("@"):
        return Text(name=option, text=argument)
    if argument == "@":
        raise click.UsageError(f"{option} @ names no file: write @input.json, or @- for stdin")
    name = "stdin" if argument == "@-" else argument[1:]
    try:
        content = sys.stdin.buffer.read() if argument == "@-" else Path(name).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}") from error
    text, undecodable = decode(content)
    if undecodable is not None:
        raise click.UsageError(f"{name} is not UTF-8 text: {undecodable.help}")
    return Text(name=name, text=text)


def _located(
    problems: Sequence[Mapping[str, str]],
    where: Text | None,
    pairs: Sequence[str],
    *,
    spec: Spec,
) -> RefusedInput:
    """Return the error with the position of each problem, in the JSON text or in name=value."""
    name = where.name if where else "--input"
    text = "\n".join([*([where.text] if where else []), *pairs])
    document = _document(where.text) if where else None
    first_pair = text.count("\n") + 2 - len(pairs)
    given = {pair.partition("=")[0] for pair in pairs}
    findings = []
    for problem in problems:
        path = problem["path"]
        known = bool(spec and _parts(path)[:1] and _parts(path)[0] in spec)
        span = _in_pairs(path, pairs, first_pair, known=known)
        span = span or _in_json(path, document, known=known)
        sentence = f"{path} {problem['message']}" if path else f"the input {problem['message']}"
        fix = fix_of(problem, pairs, spec or {}) if where is None or path in given else None
        findings.append(Diagnostic(code=CODE_REFUSED, message=sentence, span=span, help=fix))
    return RefusedInput(name, text, findings)


def _in_pairs(path: str, pairs: Sequence[str], first: int, *, known: bool) -> Span | None:
    """Return the span of the value in `name=value`; of the name if it is unknown, or of all."""
    for number, pair in enumerate(pairs):
        name, equals, value = pair.partition("=")
        if path == pair or (equals and _parts(path)[:1] == [name]):
            begin = len(pair) - len(value) + 1 if value and known else 1
            end = len(pair) + 1 if known or not equals else len(name) + 1
            line = first + number
            return Span(line=line, column=begin, end_line=line, end_column=end)
    return None


def _document(text: str) -> Document | None:
    """Parse the JSON text again as YAML, whose nodes have positions."""
    from pgflow_yaml.language.source import parse

    document = parse(text)
    return document if document.root is not None else None


def _in_json(path: str, document: Document | None, *, known: bool) -> Span | None:
    """Return the span of a field's value, of an unknown name, or of the nearest parent."""
    if document is None or document.root is None:
        return None
    from pgflow_yaml.language.source import MappingNode, SequenceNode

    node: Node = document.root
    if not known and isinstance(node, MappingNode) and path in node.entries:
        return document.span(node.entries[path][0])
    for part in _parts(path):
        child: Node | None = None
        if isinstance(node, MappingNode):
            child = node.get(part)
        elif isinstance(node, SequenceNode) and part.isdecimal() and int(part) < len(node.items):
            child = node.items[int(part)]
        if child is None:
            break
        node = child
    return document.span(node) if node is not document.root or not path else None


def _parts(path: str) -> list[str]:
    return [name or index for name, index in _STEP.findall(path)]


def trace_of_shell() -> str | None:
    """Return the trace that the caller has left in TRACEPARENT; None if it is none."""
    text = os.environ.get("TRACEPARENT", "")
    return text if re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", text) else None
