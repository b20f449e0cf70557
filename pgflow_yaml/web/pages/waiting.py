"""The page of the steps that wait for people or for an event, over all runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.inputs import types_of
from pgflow_yaml.web.live.watcher import RUNS
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.client.deciding import WaitingStep
    from pgflow_yaml.web.asked import Asked

SHOWN = 100


def _waiting(asked: Asked) -> list[WaitingStep]:
    return asked.client.list_waiting(limit=SHOWN)


def _json(asked: Asked) -> object:
    return [step.as_json() for step in asked.once(_waiting)]


def _read(_asked: Asked) -> Mapping[str, Any]:
    return {"command": "pgflow-yaml waiting"}


def _asks(asked: Asked) -> Mapping[str, Any]:
    me = {asked.user.name, *asked.user.groups}

    def row(step: WaitingStep) -> Mapping[str, Any]:
        form = step.form or {}
        return {
            "step": step.as_json(),
            "decides": step.form is not None or step.by is not None,
            "mine": step.by is None or not me.isdisjoint(step.by),
            "deciders": " or ".join(step.by or ()),
            "fields": [
                (name, " or ".join(types_of(schema)), _is_required(schema))
                for name, schema in form.items()
            ],
        }

    return {"rows": [row(step) for step in asked.once(_waiting)], "most": SHOWN}


def _is_required(schema: object) -> bool:
    return not (isinstance(schema, dict) and "default" in schema)


PAGE = Page(
    path="/waiting",
    name="waiting",
    nav="Waiting",
    read=_read,
    json=_json,
    parts={"asks": Part(read=_asks, watch=lambda _: RUNS)},
)
