"""The page of all flows: how each has fared, and when it runs next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.web.live.watcher import RUNS
from pgflow_yaml.web.pages.of_flow import flows, strip_rows
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.web.asked import Asked


def _read(_: Asked) -> Mapping[str, Any]:
    return {"command": "pgflow-yaml flows"}


def _json(asked: Asked) -> object:
    return [summary.as_json() for summary in asked.client.list_flows()]


def _list(asked: Asked) -> Mapping[str, Any]:
    strips = {row["flow"]: row for row in strip_rows(asked, None)}
    rows = [
        {**strips[summary.name], "summary": summary.as_json()}
        for summary in asked.once(flows)
        if summary.name in strips
    ]
    used = [row for row in rows if row["last"]]
    # Flows that never ran stand out of the way, unless there are no others.
    return {"rows": used or rows, "unused": [row for row in rows if used and not row["last"]]}


PAGE = Page(
    path="/flows",
    name="flows",
    nav="Flows",
    read=_read,
    json=_json,
    parts={"list": Part(read=_list, watch=lambda _: RUNS)},
)
