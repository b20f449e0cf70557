"""The calls about definitions: one method for each SQL function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgflow_yaml.database.store.calls import Calls

if TYPE_CHECKING:
    from pgflow_yaml.database.store.connection import JoinedConnection
    from pgflow_yaml.language.model import Definition, Json


class DefinitionCalls(Calls):
    """Store, activate and read definitions."""

    def deploy(
        self, definition: Definition, *, git: Json = None, activate: bool = True
    ) -> dict[str, Any]:
        """Store a version; return {name, version, flow_slug, status, active}."""
        body, facts = json.dumps(definition.body), None if git is None else json.dumps(git)
        labels = json.dumps(dict(definition.labels)) if definition.labels else None
        retention = json.dumps(dict(definition.retention)) if definition.retention else None
        reply: dict[str, Any] = self.ask(
            "select pgflow.deploy(%s::jsonb, %s, %s::text[], %s, %s, %s::jsonb, %s, %s::jsonb,"
            " %s::jsonb)",
            [
                body,
                definition.version,
                list(definition.order),
                definition.source,
                definition.description,
                facts,
                activate,
                labels,
                retention,
            ],
        )
        return reply

    def activate(self, name: str, version: str, by: str | None = None) -> dict[str, Any]:
        """Make a stored version the active one."""
        reply: dict[str, Any] = self.ask("select pgflow.activate(%s, %s, %s)", [name, version, by])
        return reply

    def list_flows(self, *, counts: bool = True) -> list[dict[str, Any]]:
        """Return every flow, with its counts of runs if they are asked for."""
        return self.ask("select pgflow.list_flows(%s)", [counts]) or []

    def list_versions(self, name: str) -> list[dict[str, Any]]:
        """Return the versions of a flow, newest first."""
        return self.ask("select pgflow.list_versions(%s)", [name]) or []

    def get_definition(
        self,
        name: str,
        version: str | None = None,
        *,
        connection: JoinedConnection | None = None,
    ) -> dict[str, Any] | None:
        """Return a stored version, the active one by default."""
        reply: dict[str, Any] | None = self.ask_in(
            connection, "select pgflow.get_definition(%s, %s)", [name, version]
        )
        return reply

    def get_webhook(self, name: str) -> dict[str, Any] | None:
        """Return {version, webhook} of the active version; None if it has no webhook."""
        reply: dict[str, Any] | None = self.ask("select pgflow.get_webhook(%s)", [name])
        return reply
