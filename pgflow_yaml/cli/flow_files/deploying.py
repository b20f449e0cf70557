"""Files into versions in the database, and what is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import InvalidFlow
from pgflow_yaml.project import git

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.cli.options import Options
    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Definition

    from .loading import Loaded


class InvalidFlows(InvalidFlow):
    """Some flow files have mistakes; `files` has all of them, also the good ones."""

    def __init__(self, files: Sequence[Loaded]) -> None:
        self.files = files
        first = next(each for each in files if each.errors)
        super().__init__(first.file, first.source, first.diagnostics)


def require_valid(loaded: Sequence[Loaded], options: Options) -> list[Definition]:
    """Return the definitions of files that are all valid; warnings are shown."""
    if any(each.errors for each in loaded):
        raise InvalidFlows(loaded)
    if any(each.diagnostics for each in loaded) and not options.quiet:
        from .diagnostics import write_text

        write_text(loaded, options)
    return [each.definition for each in loaded if each.definition is not None]


def require_children(loaded: Sequence[Loaded], store: Store) -> None:
    """Refuse flows whose children are neither among these files nor in the database, or misfit."""
    from .loading import with_children

    checked = with_children(loaded, store)
    if any(each.errors for each in checked):
        raise InvalidFlows(checked)


def children_first(loaded: Sequence[Loaded]) -> list[tuple[str, Definition]]:
    """Order valid files so that each flow comes after those that its steps run.

    In between, others may start what is there already.
    """
    from pgflow_yaml.language.validation import children_of

    by_name = {
        each.definition.name: (each.file, each.definition)
        for each in loaded
        if each.definition is not None
    }
    ordered: dict[str, tuple[str, Definition]] = {}
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name not in by_name or name in seen:
            return
        seen.add(name)
        for child in children_of(by_name[name][1].body):
            visit(child.partition("@")[0])
        ordered[name] = by_name[name]

    for name in by_name:
        visit(name)
    return list(ordered.values())


def deploy(
    store: Store, definition: Definition, *, file: str | Path, activate: bool
) -> dict[str, Any]:
    """Store a version with what git says about its file, unless it is there already."""
    return store.deploy(definition, git=git.facts(Path(file)), activate=activate)


def foresee(store: Store, definition: Definition, *, activate: bool) -> dict[str, Any]:
    """Say what `deploy` would answer, without doing it."""
    stored = store.get_definition(definition.name, definition.version)
    status = "created" if stored is None else "unchanged"
    if stored is not None and activate and not stored["active"]:
        status = "activated"
    return {
        "name": definition.name,
        "version": definition.version,
        "status": status,
        "active": activate or bool(stored and stored["active"]),
    }


def said(result: Mapping[str, Any]) -> str:
    """Say what deploying did: `compiled order 8c41e07b52d1`."""
    words = {"created": "compiled", "activated": "activated", "unchanged": "unchanged"}
    aside = "" if result["active"] else " (another version is active)"
    return f"{words[result['status']]} {result['name']} {result['version']}{aside}"
