"""Definitions and rename: from a name to its place, and from a step to all its places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.language.positions import Lines
from pgflow_yaml.language.source import MappingNode, ScalarNode, parse
from pgflow_yaml.lsp.names import definition_of, name_at, names_in, uses_of
from pgflow_yaml.lsp.python_files import find_function
from pgflow_yaml.lsp.schema import at_path
from pgflow_yaml.project.files import is_test

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgflow_yaml.language.source import Document, Node
    from pgflow_yaml.lsp.names import Name
    from pgflow_yaml.lsp.project import Project

_BY_STEP = ("mocks", "steps", "outputs", "attempts")
"""The keys of a test file below which names of steps stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Range of a file, in indexes of its text."""

    file: Path
    lines: Lines
    start: int
    end: int


def definition(document: Document, offset: int, *, file: Path, project: Project) -> Location | None:
    """Return the place that defines the name at an index."""
    if is_test(file.name):
        return _of_test(document, offset, file, project)
    names = names_in(document)
    name = name_at(names, offset)
    if name is None:
        return None
    if name.kind == "handler":
        return _of_handler(name.name, file, project)
    if name.kind == "flow":
        return _of_flow(name.name, file, project)
    defined = definition_of(names, name)
    return None if defined is None else _located(defined, file, document)


def references(document: Document, offset: int, *, file: Path) -> list[Location]:
    """Return every place in the file of the step or input field at an index."""
    names = names_in(document)
    name = name_at(names, offset)
    return [_located(use, file, document) for use in uses_of(names, name)] if name else []


def renamable(document: Document, offset: int, *, file: Path) -> Name | None:
    """Return the step at an index, if its flow has it."""
    if is_test(file.name):
        return None
    names = names_in(document)
    name = name_at(names, offset)
    if name is None or name.kind != "step" or definition_of(names, name) is None:
        return None
    return name


def rename(
    document: Document, offset: int, new: str, *, file: Path, project: Project
) -> list[Location]:
    """Return every place where a step is named, in its file and in its tests.

    Raises PgflowError for a name that a step cannot have, or that another step has.
    """
    name = renamable(document, offset, file=file)
    if name is None:
        raise PgflowError("only steps can be renamed")
    names = names_in(document)
    if new == name.name:
        return []
    rule = at_path(("steps",)) or {}
    _require_name(new, rule["propertyNames"])
    if any((o.kind, o.name, o.scope) == ("step", new, name.scope) and o.defines for o in names):
        raise PgflowError(f'there is a step "{new}" already')
    places = [_located(use, file, document) for use in uses_of(names, name)]
    if not name.scope and isinstance(document.root, MappingNode):
        flow = document.root.get("flow")
        title = flow.text if isinstance(flow, ScalarNode) else ""
        for test in project.tests(file):
            places += _in_test(test, title, name.name, file=file, project=project)
    return places


def _require_name(name: str, rule: dict[str, object]) -> None:
    from jsonschema import Draft7Validator

    from pgflow_yaml.lsp.schema import schema_of

    validator = Draft7Validator({**rule, "definitions": schema_of("workflow")["definitions"]})
    if not validator.is_valid(name):
        message = (
            f'"{name}" cannot name a step: letters, digits and `_`, and no word of expressions'
        )
        raise PgflowError(message)


def _in_test(
    test: Path, flow: str, step: str, *, file: Path, project: Project
) -> Iterator[Location]:
    """Yield the places of a step in a test file of its flow."""
    document = parse(project.text(test))
    root = document.root
    named = root.get("flow") if isinstance(root, MappingNode) else None
    if not isinstance(root, MappingNode) or not isinstance(named, ScalarNode):
        return
    by_file = (test.parent / named.text).resolve() == file.resolve()
    if named.text != flow and not by_file:
        return
    for key in _keys_by_step(root):
        if key.text == step:
            quotes = len(key.style)
            start, end = key.start + quotes, key.end - quotes
            yield Location(file=test, lines=document.lines, start=start, end=end)


def _keys_by_step(root: MappingNode) -> Iterator[ScalarNode]:
    cases = root.get("cases")
    holders: list[Node | None] = [root]
    for _, case in cases.entries.values() if isinstance(cases, MappingNode) else ():
        holders += [case, case.get("expect") if isinstance(case, MappingNode) else None]
    for holder in holders:
        for word in _BY_STEP:
            steps = holder.get(word) if isinstance(holder, MappingNode) else None
            if isinstance(steps, MappingNode):
                yield from (key for key, _ in steps.entries.values())


def _of_test(document: Document, offset: int, file: Path, project: Project) -> Location | None:
    """Return the place of the flow, or of the step, that a test file names at an index."""
    root = document.root
    flow = root.get("flow") if isinstance(root, MappingNode) else None
    if not isinstance(root, MappingNode) or not isinstance(flow, ScalarNode):
        return None
    if flow.start <= offset <= flow.end:
        return _of_flow(flow.text, file, project)
    key = next((k for k in _keys_by_step(root) if k.start <= offset <= k.end), None)
    found = project.flow(flow.text, file) if key else None
    if key is None or found is None:
        return None
    target, text, _ = found
    for name in names_in(text):
        if name.defines and (name.kind, name.name, name.scope) == ("step", key.text, ()):
            return _located(name, target, text)
    return None


def _of_handler(path: str, file: Path, project: Project) -> Location | None:
    function = find_function(path, project.roots(file))
    if function is None:
        return None
    lines = Lines(project.text(function.file))
    start = lines.starts[function.line] + function.column
    return Location(file=function.file, lines=lines, start=start, end=start + len(function.name))


def _of_flow(name: str, file: Path, project: Project) -> Location | None:
    found = project.flow(name, file)
    node = found[2].get("flow") if found else None
    if found is None or node is None:
        return None
    return Location(file=found[0], lines=found[1].lines, start=node.start, end=node.end)


def _located(name: Name, file: Path, document: Document) -> Location:
    return Location(file=file, lines=document.lines, start=name.start, end=name.end)
