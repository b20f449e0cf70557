"""Deployment of flow sets: checked against the database, then stored, children first."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.client.results import Deployed, Preview, StoredVersion, row_of
from pgflow_yaml.project.git import facts
from pgflow_yaml.project.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Definition, Json, Retention
    from pgflow_yaml.project.flow_set import FlowSet


def git_facts(file: str) -> Json:
    """Return the commit of a flow file, or None outside of a repository."""
    return facts(Path(file))


def stored_version(store: Store, name: str, version: str | None) -> StoredVersion | None:
    """Return a stored version, the active one by default."""
    row = store.get_definition(name, version)
    return None if row is None else row_of(StoredVersion, row)


def check(store: Store, flows: FlowSet) -> FlowSet:
    """Return a valid set with the findings between its flows and the stored ones."""
    flows.require()

    def body(name: str, version: str | None) -> dict[str, Json] | None:
        stored = stored_version(store, name, version)
        return None if stored is None else stored.definition

    def names() -> list[str]:
        return [row["name"] for row in store.list_flows()]

    return flows.check(stored=body, names=names)


def deploy(
    store: Store, flows: FlowSet, git: Callable[[str], Json], *, activate: bool | None
) -> tuple[Deployed, ...]:
    """Check a set and store it; `activate` None activates only flows without an active version."""
    check(store, flows).require()
    results: dict[str, Deployed] = {}
    for file in flows.children_first():
        definition = file.require()
        name = definition.name
        active = stored_version(store, name, None) is None if activate is None else activate
        commit = git(file.file)
        default = _retention(file.file)
        definition = replace(definition, retention={**default, **definition.retention})
        for inner in definition.inner:  # their parent names the version that it runs
            store.deploy(inner, git=commit, activate=False)
        row = store.deploy(definition, git=commit, activate=active)
        results[name] = row_of(Deployed, row)
    return tuple(results[definition.name] for definition in flows.definitions)


def _retention(file: str) -> Retention:
    """Return how long a project keeps the runs of flows that do not say it."""
    return read_settings(Path(file).parent, flags={}, environ=os.environ).retention


def preview(store: Store, flows: FlowSet, *, activate: bool) -> tuple[Preview, ...]:
    """Check a set and return the results that `deploy` would have."""
    definitions = check(store, flows).require()
    return tuple(_preview(store, definition, activate=activate) for definition in definitions)


def _preview(store: Store, definition: Definition, *, activate: bool) -> Preview:
    stored = stored_version(store, definition.name, definition.version)
    status = "created" if stored is None else "unchanged"
    if stored is not None and activate and not stored.active:
        status = "activated"
    return Preview(
        name=definition.name,
        version=definition.version,
        status=status,
        active=activate or (stored is not None and stored.active),
    )
