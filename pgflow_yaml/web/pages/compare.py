"""The page of two runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import lookup
from pgflow_yaml.client.reading import read_run
from pgflow_yaml.runs.compared import MISSING, compared
from pgflow_yaml.runs.listed import run_status, run_took
from pgflow_yaml.runs.run import run_name
from pgflow_yaml.web.pages.of_run import LONGEST, snapshot
from pgflow_yaml.web.table import Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.compared import Compared
    from pgflow_yaml.runs.snapshot import Snapshot
    from pgflow_yaml.web.asked import Asked

MOST_OFFERED = 20


def _other(asked: Asked) -> Snapshot | None:
    """Return the run to compare with; None if none is chosen yet."""
    text = asked.query.get("with", "").strip()
    if not text:
        return None
    return read_run(asked.client, lookup.run_id(asked.client, text[:LONGEST]))


def _compared(asked: Asked) -> Compared | None:
    other = asked.once(_other)
    return compared(asked.once(snapshot), other) if other else None


def _read(asked: Asked) -> Mapping[str, Any]:
    shown, other = asked.once(snapshot), asked.once(_other)
    run = shown["run"]
    offered = []
    if other is None:
        found = asked.client.list_runs(limit=MOST_OFFERED + 1, flow=run["flow"], children=True)
        offered = [
            {"run": each, "status": run_status(each).partition(",")[0], "took": run_took(each)}
            for each in (one.as_json() for one in found)
            if each["id"] != run["id"]
        ][:MOST_OFFERED]
    pair = asked.once(_compared)
    return {
        "run": run,
        "name": run_name(run),
        "other": other and other["run"],
        "other_name": run_name(other["run"]) if other else "",
        "pair": pair,
        "changes": [
            (path or "the whole input", _side(one), _side(two))
            for path, one, two in (pair["changes"] if pair else [])
        ],
        "offered": offered,
        "command": f"pgflow-yaml show {run['id'][:8]}",
    }


def _json(asked: Asked) -> object:
    """Return the two runs side by side; null until another run is chosen."""
    pair = asked.once(_compared)
    if pair is None:
        return None
    named = [
        {"path": path, **_known("one", one), **_known("other", two)}
        for path, one, two in pair["changes"]
    ]
    return {**pair, "changes": named}


def _known(name: str, value: object) -> dict[str, object]:
    return {} if value is MISSING else {name: value}


def _side(value: object) -> tuple[bool, object]:
    """Return whether a side has a value, and it."""
    return value is not MISSING, None if value is MISSING else value


PAGE = Page(path="/runs/{run}/compare", name="compare", read=_read, json=_json)
