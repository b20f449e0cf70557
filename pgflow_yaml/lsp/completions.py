"""Completion: keys, fixed words, steps, inputs, flows, handlers, and names in expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgflow_yaml.language.expressions.functions import FUNCTIONS
from pgflow_yaml.language.expressions.names import STEP_FIELDS
from pgflow_yaml.language.model import SECTIONS
from pgflow_yaml.language.source import MappingNode, ScalarNode
from pgflow_yaml.language.validation.names import known_run_keys, roots_in
from pgflow_yaml.lsp import schema
from pgflow_yaml.lsp.cursor import PLACEHOLDER, cursor_at, flow_at, value_at
from pgflow_yaml.lsp.python_files import find_function, handler_paths
from pgflow_yaml.project.files import is_test

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pgflow_yaml.lsp.cursor import Cursor
    from pgflow_yaml.lsp.project import Project

Kind = Literal["key", "word", "step", "input", "flow", "handler", "name", "function"]
_CHAIN = re.compile(r"((?:[A-Za-z_]\w*\.)*)(\w*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Text to write over a range, in indexes of the file."""

    text: str
    kind: Kind
    start: int
    end: int
    detail: str = ""


def complete(
    text: str, offset: int, *, file: Path, project: Project, readable: MappingNode | None
) -> list[Completion]:
    """Return what can stand at an index; `readable` is the last tree of a broken file."""
    place = cursor_at(text, offset)
    if is_test(file.name):
        return _in_test(place, file, project)
    root = place.root if place.whole else readable or place.root
    asked = _Asked(place, file, project, root)
    if place.expression is not None:
        return asked.in_expression(offset, place.expression)
    return asked.keys() if place.is_key else asked.values()


class _Asked:
    """One question, with the flow around the place."""

    def __init__(
        self, place: Cursor, file: Path, project: Project, root: MappingNode | None
    ) -> None:
        self.place, self.file, self.project = place, file, project
        self.flow, self.rest = flow_at(root, place.path)
        self.step = self.rest[1] if len(self.rest) > 1 and self.rest[0] in SECTIONS else None

    def keys(self) -> list[Completion]:
        """Return the keys that the mapping does not have yet."""
        rest, place = self.rest, self.place
        mapping = value_at(self.flow, rest)
        present = mapping.entries if isinstance(mapping, MappingNode) else {}
        if len(rest) == 3 and rest[2] == "depends_on":
            words = [step for step in self._steps(rest[0]) if step not in present]
            return self._offer(words, "step", after=": ")
        if len(rest) == 3 and rest[2] == "with":
            return self._offer([n for n in self._arguments() if n not in present], "input", ": ")
        return [
            Completion(
                text=key + ("" if place.colon else ": "),
                kind="key",
                start=place.start,
                end=place.end,
                detail=str(child.get("description", "")),
            )
            for key, child in schema.keys_at(place.path).items()
            if key not in present
        ]

    def values(self) -> list[Completion]:
        """Return the values of a key, or the items of a list."""
        path, rest = self.place.path, self.rest
        if self.step is not None and rest[2:] in {("depends_on",), ("depends_on", schema.ITEM)}:
            return self._offer(self._steps(rest[0]), "step")
        if self.step is not None and rest[2:] == ("handler",):
            roots = self.project.own_roots(self.file)
            return self._offer(handler_paths(self.place.word, roots), "handler")
        if self.step is not None and rest[2:] == ("flow",):
            own = self._text(self.flow, "flow")
            names = [name for name in self.project.flows(self.file) if name != own]
            return self._offer(names, "flow")
        return self._offer(schema.words_at(path), "word")

    def in_expression(self, offset: int, written: str) -> list[Completion]:
        """Return the names that continue a path, or begin one."""
        match = _CHAIN.search(written)
        chain = match[1].split(".")[:-1] if match else []
        start = offset - len(match[2] if match else "")
        names: Iterable[str] = ()
        kind: Kind = "name"
        match chain:
            case []:
                key = ".".join(self.rest[2:] if self.step else self.rest[:1])
                names = roots_in(key)
                functions = self._offer([f"{name}(" for name in FUNCTIONS], "function", at=start)
                return [*self._offer(names, kind, at=start), *functions]
            case ["steps"]:
                own = self.rest[0] if self.step else "finally"
                sections = SECTIONS if own == "finally" else SECTIONS[:1]
                names, kind = [s for each in sections for s in self._steps(each)], "step"
            case ["steps", _]:
                names = STEP_FIELDS
            case ["input"]:
                fields = self.flow.get("input") if self.flow else None
                names, kind = fields.entries if isinstance(fields, MappingNode) else (), "input"
            case ["run"]:
                names = known_run_keys(final=bool(self.step) and self.rest[0] == "finally")
            case _:
                pass
        return self._offer(names, kind, at=start)

    def _steps(self, section: str) -> list[str]:
        """Return the other steps of a section."""
        steps = self.flow.get(section) if self.flow else None
        names = steps.entries if isinstance(steps, MappingNode) else ()
        return [name for name in names if name not in (self.step, PLACEHOLDER)]

    def _arguments(self) -> list[str]:
        """Return the parameters of the handler of a step, or the inputs of its child flow."""
        step = value_at(self.flow, self.rest[:2])
        handler, child = self._text(step, "handler"), self._text(step, "flow")
        if handler:
            function = find_function(handler, self.project.roots(self.file))
            return list(function.parameters) if function else []
        found = self.project.flow(child, self.file) if child else None
        fields = found[2].get("input") if found else None
        return list(fields.entries) if isinstance(fields, MappingNode) else []

    def _text(self, node: object, key: str) -> str:
        value = node.get(key) if isinstance(node, MappingNode) else None
        return value.text if isinstance(value, ScalarNode) else ""

    def _offer(
        self, names: Iterable[str], kind: Kind, after: str = "", *, at: int | None = None
    ) -> list[Completion]:
        start = self.place.start if at is None else at
        after = "" if self.place.colon else after
        return [
            Completion(text=name + after, kind=kind, start=start, end=self.place.end)
            for name in names
        ]


def _in_test(place: Cursor, file: Path, project: Project) -> list[Completion]:
    """Return keys and words of a test file, and the steps of its flow."""
    names: Iterable[tuple[str, Kind, str]]
    if place.is_key:
        keys = schema.keys_at(place.path, "test")
        names = [(key, "key", str(keys[key].get("description", ""))) for key in keys]
        if place.path[-1:] in {("mocks",), ("steps",), ("outputs",), ("attempts",)}:
            names = [(step, "step", "") for step in _tested_steps(place, file, project)]
    elif place.path == ("flow",):
        names = [(name, "flow", "") for name in project.flows(file)]
    else:
        names = [(word, "word", "") for word in schema.words_at(place.path, "test")]
    after = ": " if place.is_key and not place.colon else ""
    return [
        Completion(text=name + after, kind=kind, start=place.start, end=place.end, detail=detail)
        for name, kind, detail in names
    ]


def _tested_steps(place: Cursor, file: Path, project: Project) -> list[str]:
    flow = place.root.get("flow") if place.root else None
    found = project.flow(flow.text, file) if isinstance(flow, ScalarNode) else None
    sections = [found[2].get(section) for section in SECTIONS] if found else []
    return [name for each in sections if isinstance(each, MappingNode) for name in each.entries]
