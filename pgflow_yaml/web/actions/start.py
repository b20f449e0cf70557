"""Start a run of a flow, by a form that its `input` makes; again, with the input of another run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import lookup, outcomes
from pgflow_yaml.errors import InvalidInput, WrongSetting
from pgflow_yaml.language.inputs import problems_of
from pgflow_yaml.text import clean
from pgflow_yaml.web.fields import fields, json_text, read, written
from pgflow_yaml.web.pages.of_flow import flow
from pgflow_yaml.web.table import Action, Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.client import StoredVersion
    from pgflow_yaml.language.inputs import Problem
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.snapshot import RunShape
    from pgflow_yaml.web.asked import Asked

_LONGEST = 200
_MOST_CHARACTERS = 500_000
"""A form may have 1 MB, and one character may take several bytes."""


def _active(asked: Asked) -> StoredVersion:
    return lookup.active(asked.client, asked.once(flow).name)


def _model(asked: Asked) -> RunShape | None:
    """Return the run of `?like=`, whose input the form begins with."""
    text = asked.query.get("like", "")[:_LONGEST]
    if not text:
        return None
    run_id = lookup.run_id(asked.client, text)
    run = lookup.snapshot(asked.client, run_id, outputs=False)["run"]
    name = asked.once(flow).name
    if run["flow"] != name:
        raise WrongSetting(f'run {run_id[:8]} is of flow "{run["flow"]}", not of "{name}"')
    return run


def _spec(asked: Asked) -> Mapping[str, Json]:
    spec = asked.once(_active).definition.get("input")
    return spec if isinstance(spec, dict) else {}


def _problems(asked: Asked) -> list[Problem]:
    """Return every problem with the typed values; none before the first try."""
    if not asked.form:
        return []
    value, problems = read(asked.once(_spec), asked.form)
    if problems:
        return problems
    return problems_of(asked.once(_active).definition, value)


def _ask(asked: Asked) -> Mapping[str, Any]:
    stored, model, spec = asked.once(_active), asked.once(_model), asked.once(_spec)
    before: Any = model["input"] if model else {}
    values = before if isinstance(before, dict) else {}
    problems = {
        re.split(r"[.\[]", problem["path"])[0]: problem["message"] for problem in _problems(asked)
    }
    texts = written(stored.source or "", stored.name)
    whole = "input_schema" in stored.definition
    too_large = len(json.dumps(before, ensure_ascii=False)) > _MOST_CHARACTERS
    if too_large:
        values, before = {}, {}
    # A form would lose what pages leave out of texts: control characters, the end of DOS lines.
    odd = any(isinstance(value, str) and clean(value) != value for value in values.values())
    in_one = (whole and model is not None) or odd
    like = ["--like", model["id"][:8]] if model else []
    return {
        "flow": stored.name,
        "version": stored.version,
        "like": model["id"] if model else "",
        "too_large": too_large,
        "fields": fields(spec, values, texts=texts, form=asked.form, problems=problems),
        "gone": [name for name in values if name not in spec and not whole],
        "whole": whole,
        "json": asked.form.get("json", json_text(before) if in_one else ""),
        "key": asked.form.get("key", ""),
        "labels": asked.form.get("labels", ""),
        "command": " ".join(["pgflow-yaml start", stored.name, *like]),
    }


def _do(asked: Asked) -> Done:
    stored = asked.once(_active)
    value, problems = read(asked.once(_spec), asked.form)
    if problems:
        raise InvalidInput(problems=problems)
    started = asked.client.start_run(
        stored.name,
        value,
        key=asked.form.get("key", "").strip() or None,
        labels=_labels(asked.form.get("labels", "")) or None,
        version=stored.version,
        by=asked.user.name,
    )
    said = outcomes.found_by_key(started) or f"run {started.run_id[:8]} started"
    return Done(to=f"/runs/{started.run_id}", said=said)


def _labels(text: str) -> dict[str, str]:
    """Return the labels, one a line; raises WrongSetting."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = line.partition("=")
        if not name or not equals:
            raise WrongSetting(f'label "{line}": write name=value')
        if name in found:
            raise WrongSetting(f'label "{name}" is given twice')
        found[name] = value
    return found


ACTION = Action(path="/flows/{flow}/start", name="start", ask=_ask, do=_do)
