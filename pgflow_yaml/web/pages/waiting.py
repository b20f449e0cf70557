"""The page of the steps that wait for people or for an event, over all runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.web.asking import texts_of
from pgflow_yaml.web.live.watcher import WAITING
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
    sources: dict[tuple[str, str | None], str] = {}
    texts: dict[tuple[str, str | None, str], Mapping[str, tuple[str, str]]] = {}
    me = {asked.user.name, *asked.user.groups}

    def source(step: WaitingStep) -> str:
        version = (step.flow, step.version)
        if version not in sources:
            stored = asked.client.get_definition(*version)
            sources[version] = (stored and stored.source) or ""
        return sources[version]

    def asks_for(step: WaitingStep) -> list[tuple[str, bool]]:
        known = (step.flow, step.version, step.step)
        if known not in texts:
            texts[known] = texts_of(source(step), step.flow, step.step)
        return _fields(step, texts[known])

    def row(step: WaitingStep) -> Mapping[str, Any]:
        return {
            "step": step.as_json(),
            "decides": step.form is not None or step.by is not None,
            "mine": step.by is None or not me.isdisjoint(step.by),
            "deciders": " or ".join(step.by or ()),
            "fields": asks_for(step) if step.form else [],
        }

    return {"rows": [row(step) for step in asked.once(_waiting)], "most": SHOWN}


def _fields(step: WaitingStep, texts: Mapping[str, tuple[str, str]]) -> list[tuple[str, bool]]:
    """Return the title of each field of a form, in the order of the flow, and if it is required."""
    form = step.form or {}
    names = [*filter(form.__contains__, texts), *(name for name in form if name not in texts)]
    return [(texts.get(name, ("",))[0] or name, _is_required(form[name])) for name in names]


def _is_required(schema: object) -> bool:
    return not (isinstance(schema, dict) and "default" in schema)


PAGE = Page(
    path="/waiting",
    name="waiting",
    nav="Waiting",
    read=_read,
    json=_json,
    parts={"asks": Part(read=_asks, watch=lambda _: WAITING)},
)
