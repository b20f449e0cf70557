"""Flow files from paths: read, checked, compiled; every finding of every file is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import Diagnostic
from pgflow_yaml.project import files as flow_files
from pgflow_yaml.project.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Definition
    from pgflow_yaml.project.settings import Settings

CODE_TWICE = "PF303"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A file and everything found in it; the definition is there when it is valid."""

    file: str
    source: str
    diagnostics: Sequence[Diagnostic]
    definition: Definition | None

    @property
    def errors(self) -> int:
        """How many of the findings are errors."""
        return sum(each.severity == "error" for each in self.diagnostics)


def worker_settings(
    *, app_dir: Path | None = None, allow: Sequence[str] = (), **more: float | Path | None
) -> Settings:
    """Lay what was said over PGFLOW_YAML_* and over the project's pyproject.toml."""
    import os

    flags = {"app_dir": app_dir, "allow": tuple(allow), **more}
    return read_settings(Path.cwd(), flags=flags, environ=os.environ)


def load(files: Sequence[str]) -> list[Loaded]:
    """Read, check and compile files; a flow that two of them have is a finding."""
    schema = flow_files.schema()
    loaded: list[Loaded] = []
    first: dict[str, str] = {}
    for file in files:
        found = _load(file, schema)
        if found.definition is not None:
            name = found.definition.name
            if name in first:
                found = _refused(found, f'flow "{name}" is in {first[name]}, too')
            first.setdefault(name, file)
        loaded.append(found)
    return loaded


def is_file(text: str) -> bool:
    """Whether a word of the command line is a file, rather than the name of a flow."""
    return text.endswith((".yaml", ".yml")) or "/" in text or Path(text).is_file()


def is_test(file: str) -> bool:
    """Whether a file holds tests of a flow, by its name."""
    return file.endswith(".test.yaml")


def load_tests(files: Sequence[str]) -> list[Loaded]:
    """Read test files and hold each against its flow; a flow with mistakes comes along."""
    from pgflow_yaml.testing.running import prepare

    loaded: dict[str, Loaded] = {}
    for file in files:
        tested = prepare(Path(file))
        if (error := tested.flow_error) is not None:
            loaded[error.file] = Loaded(
                file=error.file,
                source=error.source,
                diagnostics=error.diagnostics,
                definition=None,
            )
        loaded[file] = Loaded(
            file=file, source=tested.source, diagnostics=tested.diagnostics, definition=None
        )
    return list(loaded.values())


def with_children(loaded: Sequence[Loaded], store: Store | None) -> list[Loaded]:
    """Check what is between flows: the files of one command, and the database if there is one."""
    from pgflow_yaml.language.validation import check_flows

    definitions = [each.definition for each in loaded if each.definition is not None]
    stored = None if store is None else _stored(definitions, store)
    found = dict(
        zip(
            (each.name for each in definitions),
            check_flows(definitions, stored=stored),
            strict=True,
        )
    )
    return [
        replace(each, diagnostics=[*each.diagnostics, *found[each.definition.name]])
        if each.definition is not None
        else each
        for each in loaded
    ]


def _stored(definitions: Sequence[Definition], store: Store) -> dict[str, dict[str, Any] | None]:
    """Look up the children that no file has, and theirs."""
    from pgflow_yaml.language.validation import children_of, is_given

    stored: dict[str, dict[str, Any] | None] = {}
    pending = [child for each in definitions for child in children_of(each.body)]
    while pending:
        child = pending.pop()
        if child in stored or is_given(child, definitions):
            continue
        name, _, version = child.partition("@")
        found = store.get_definition(name, version or None)
        stored[child] = found["definition"] if found else None
        pending += children_of(found["definition"]) if found else []
    return stored


def with_handlers(loaded: Loaded, places: Settings) -> Loaded:
    """Import the handlers of a valid file as well; what is wrong with them is added."""
    if loaded.definition is None:
        return loaded
    from .handler_checks import handler_findings

    found = handler_findings(loaded.source, loaded.definition.body, places)
    definition = None if found else loaded.definition
    return replace(loaded, diagnostics=[*loaded.diagnostics, *found], definition=definition)


def _load(file: str, schema: dict[str, Any]) -> Loaded:
    from pgflow_yaml.language.compiler import compile_flow
    from pgflow_yaml.language.validation import check

    checked = check(flow_files.read(file), file=file, schema=schema)
    flow = checked.flow
    return Loaded(
        file=file,
        source=checked.source,
        diagnostics=checked.diagnostics,
        definition=compile_flow(flow, source=checked.source) if flow else None,
    )


def _refused(loaded: Loaded, message: str) -> Loaded:
    from pgflow_yaml.language.source import MappingNode, parse

    document = parse(loaded.source)
    root = document.root
    node = root.get("flow") if isinstance(root, MappingNode) else None
    span = document.span(node) if node is not None else None
    fix = "give one of them another name"
    finding = Diagnostic(code=CODE_TWICE, message=message, span=span, help=fix)
    return replace(loaded, diagnostics=[*loaded.diagnostics, finding], definition=None)
