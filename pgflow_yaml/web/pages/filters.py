"""The filters of runs in an address: the words of `pgflow-yaml runs`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from pgflow_yaml.client import lookup
from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.language.durations import milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgflow_yaml.client import Client
    from pgflow_yaml.runs.filters import RunFilters
    from pgflow_yaml.web.asked import Asked

STATUSES = ("started", "waiting", "completed", "failed", "cancelled")
FILTERS = (
    *("flow", "status", "version", "label", "since", "older", "error", "parent", "schedule"),
    "all",
)
PLACE = ("before", "before_id")
"""Beginning of a page of a list: behind this run."""
_LONGEST = 200


def filters(asked: Asked) -> RunFilters:
    """Return the filters of the address; raises WrongSetting or NotFound for a wrong one."""
    return read_filters(asked.client, asked.query.multi_items())


def read_filters(client: Client, pairs: Iterable[tuple[str, str]]) -> RunFilters:
    """Return the filters that names and values mean; raises WrongSetting or NotFound.

    A filter that is not known is refused: without it, the page would show other runs.
    """
    found: RunFilters = {}
    labels: dict[str, str] = {}
    for name, value in pairs:
        if not value:
            continue  # a field of a form that was left empty
        if name not in FILTERS + PLACE:
            raise WrongSetting(f'there is no filter "{name}"; the filters are {", ".join(FILTERS)}')
        if len(value) > _LONGEST:
            raise WrongSetting(f"the filter {name} has more than {_LONGEST} characters")
        if name in PLACE:
            continue
        if name == "label":
            labels |= _label(value)
        elif name == "all":
            found["children"] = True
        else:
            found[name] = _value(client, name, value)  # type: ignore[literal-required]
    if labels:
        found["labels"] = labels
    if (flow := found.get("flow")) is not None:
        lookup.must_be_flow(client.list_flows(counts=False), flow)
    return found


def _value(client: Client, name: str, text: str) -> float | str:
    if name in ("since", "older"):
        return _seconds(name, text)
    if name == "parent":
        return lookup.run_id(client, text)
    if name == "status" and text not in STATUSES:
        raise WrongSetting(f'status "{text}": write {", ".join(STATUSES)}')
    return text


def _label(text: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise WrongSetting(f'label "{text}": write name=value')
    return {name: value}


def place(asked: Asked) -> Mapping[str, str] | None:
    """Return where the page begins; None for the newest runs."""
    found = {name: value for name in PLACE if (value := asked.query.get(name))}
    return found or None


def chosen(asked: Asked) -> list[tuple[str, str]]:
    """Return the filters of the address as they were written, without the empty ones."""
    return [pair for pair in asked.query.multi_items() if pair[1] and pair[0] in FILTERS]


def address(path: str, pairs: list[tuple[str, str]]) -> str:
    """Return a path with a query, if there is one."""
    return path + (f"?{urlencode(pairs)}" if pairs else "")


def command(pairs: list[tuple[str, str]]) -> str:
    """Return the command that lists the same runs, for a terminal."""
    words = ["pgflow-yaml", "runs"]
    for name, value in pairs:
        words += ["--all"] if name == "all" else [f"--{name}", value]
    return shlex.join(words)


def _seconds(name: str, text: str) -> float:
    duration = milliseconds(text)
    if duration is None:
        raise WrongSetting(f'{name} "{text}" is not a duration; write 30m, 2h or 7d')
    return duration / 1000
