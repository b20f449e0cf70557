"""Make a stored version of a flow the active one, after a look at what it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import lookup, outcomes
from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.project.versions import headline
from pgflow_yaml.web.pages.of_flow import changes, flow
from pgflow_yaml.web.table import Action, Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.web.asked import Asked

_LONGEST = 200


def _version(asked: Asked) -> str:
    text = asked.query.get("version", "")[:_LONGEST]
    if not text:
        raise WrongSetting("name the version to activate: ?version=1f0c")
    return lookup.version(asked.client, asked.once(flow).name, text)


def _ask(asked: Asked) -> Mapping[str, Any]:
    summary, version = asked.once(flow), asked.once(_version)
    comparison = None
    if summary.version not in (None, version):
        comparison = asked.client.compare_versions(summary.name, str(summary.version), version)
    return {
        "flow": summary.name,
        "version": version,
        "active": summary.version,
        "headline": "" if comparison is None else headline(comparison),
        "changes": [] if comparison is None else changes(comparison),
        "command": f"pgflow-yaml activate {summary.name} {version}",
    }


def _do(asked: Asked) -> Done:
    name, version = asked.once(flow).name, asked.once(_version)
    result = asked.client.activate(name, version, by=asked.user.name)
    return Done(to=f"/flows/{name}", said=outcomes.deployed(result))


ACTION = Action(path="/flows/{flow}/activate", name="activate", ask=_ask, do=_do)
