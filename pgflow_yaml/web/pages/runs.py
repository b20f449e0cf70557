"""The page of all runs: the address is the filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pgflow_yaml.client import lookup
from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.language.durations import milliseconds
from pgflow_yaml.runs.listed import run_status, run_took, run_trouble
from pgflow_yaml.text import labels_text
from pgflow_yaml.web.live.watcher import RUNS
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.filters import RunFilters
    from pgflow_yaml.web.asked import Asked

STATUSES = ("started", "waiting", "completed", "failed", "cancelled")
FILTERS = ("flow", "status", "version", "label", "since", "older", "error", "parent")
SHOWN = 50
_LONGEST = 200


def filters(asked: Asked) -> RunFilters:
    """Return the filters of the address; raises WrongSetting or NotFound for a wrong one.

    A filter that is not known is refused: without it, the page would show other runs.
    """
    found: RunFilters = {}
    labels: dict[str, str] = {}
    for name, value in asked.query.multi_items():
        if name not in FILTERS:
            raise WrongSetting(f'there is no filter "{name}"; the filters are {", ".join(FILTERS)}')
        if len(value) > _LONGEST:
            raise WrongSetting(f"the filter {name} has more than {_LONGEST} characters")
        if not value:
            continue
        if name == "label":
            key, equals, text = value.partition("=")
            if not key or not equals:
                raise WrongSetting(f'label "{value}": write name=value')
            labels[key] = text
        elif name in ("since", "older"):
            found[name] = _seconds(name, value)  # type: ignore[literal-required]
        elif name == "parent":
            found["parent"] = lookup.run_id(asked.client, value)
        elif name == "status" and value not in STATUSES:
            raise WrongSetting(f'status "{value}": write {", ".join(STATUSES)}')
        else:
            found[name] = value  # type: ignore[literal-required]
    if labels:
        found["labels"] = labels
    return found


def _seconds(name: str, text: str) -> float:
    duration = milliseconds(text)
    if duration is None:
        raise WrongSetting(f'{name} "{text}" is not a duration; write 30m, 2h or 7d')
    return duration / 1000


def _json(asked: Asked) -> object:
    found = asked.client.list_runs(limit=SHOWN, **asked.once(filters))
    return [run.as_json() for run in found]


def _read(asked: Asked) -> Mapping[str, Any]:
    asked.once(filters)
    given = [(name, value) for name, value in asked.query.multi_items() if value]
    chips = []
    for name, value in given:
        rest = [pair for pair in given if pair != (name, value)]
        chips.append((name, value, asked.url("/") + (f"?{urlencode(rest)}" if rest else "")))
    return {"chips": chips, "query": asked.query, "statuses": STATUSES, "command": _command(given)}


def _command(given: list[tuple[str, str]]) -> str:
    """Return the command that lists the same runs, for a terminal."""
    words = [f"--{name} {value}" for name, value in given if value.isalnum()]
    return " ".join(["pgflow-yaml runs", *words])


def _list(asked: Asked) -> Mapping[str, Any]:
    found = [run.as_json() for run in asked.client.list_runs(limit=SHOWN, **asked.once(filters))]
    rows = [
        {
            "run": run,
            "status": run_status(run),
            "took": run_took(run),
            "trouble": run_trouble(run),
            "labels": labels_text(run["labels"]),  # type: ignore[arg-type]
        }
        for run in found
    ]
    return {"rows": rows, "filtered": any(asked.query.values()), "most": SHOWN}


PAGE = Page(
    path="/",
    name="runs",
    nav="Runs",
    read=_read,
    json=_json,
    json_path="/runs.json",
    parts={"list": Part(read=_list, watch=lambda _: RUNS)},
)
