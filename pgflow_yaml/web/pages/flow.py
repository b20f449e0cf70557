"""The page of a flow: its graph, its text, its versions and what differs between two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pgflow_yaml.client import lookup
from pgflow_yaml.errors import NotFound, WrongSetting
from pgflow_yaml.language.graph.drawing import of_definition
from pgflow_yaml.language.graph.neighbourhood import part
from pgflow_yaml.language.graph.page import picture, place
from pgflow_yaml.language.validation.positions import step_positions
from pgflow_yaml.project.versions import headline
from pgflow_yaml.runs.listed import commit, next_tick, run_counts, schedule_note
from pgflow_yaml.web.live.watcher import RUNS
from pgflow_yaml.web.pages.of_flow import changes, flow, schedules, strip_rows
from pgflow_yaml.web.rendering import time_words
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.client import StoredVersion
    from pgflow_yaml.project.versions import Comparison
    from pgflow_yaml.web.asked import Asked

MOST_LINES = 5_000
MOST_VERSIONS = 100
_LONGEST = 200


def _versions(asked: Asked) -> list[dict[str, Any]]:
    return [row.as_json() for row in asked.client.list_versions(asked.once(flow).name)]


def _shown(asked: Asked) -> StoredVersion:
    """Return the version that the page shows: that of the address, the active or the newest one."""
    name, wanted = asked.once(flow).name, asked.query.get("version", "")[:_LONGEST]
    if wanted:
        wanted = lookup.version(asked.client, name, wanted)
    elif asked.once(flow).version is None:
        wanted = asked.once(_versions)[0]["version"]
    stored = asked.client.get_definition(name, wanted or None)
    if stored is None:
        raise NotFound(f'flow "{name}" has no version "{wanted}" any more')
    return stored


def _comparison(asked: Asked) -> Comparison | None:
    """Return what `?diff=A..B` asks for; raises WrongSetting or NotFound."""
    text = asked.query.get("diff", "")[:_LONGEST]
    if not text:
        return None
    old, dots, new = text.partition("..")
    if not (old and dots and new):
        raise WrongSetting(f'diff "{text}": write two versions, such as 1f0c..8c41')
    name = asked.once(flow).name
    sides = [lookup.version(asked.client, name, side) for side in (old, new)]
    return asked.client.compare_versions(name, *sides)


def _json(asked: Asked) -> object:
    """Return what `diff --between` prints for two versions, else what `versions` prints."""
    comparison = asked.once(_comparison)
    return asked.once(_versions) if comparison is None else comparison.as_json()


def _read(asked: Asked) -> Mapping[str, Any]:
    summary, comparison = asked.once(flow), asked.once(_comparison)
    command = f"pgflow-yaml versions {summary.name}"
    if comparison is not None:
        sides = f"{comparison.before.version} {comparison.after.version}"
        command = f"pgflow-yaml diff {summary.name} --between {sides}"
    return {
        "flow": summary.as_json(),
        "can_start": summary.version is not None,
        "headline": "" if comparison is None else headline(comparison),
        "changes": None if comparison is None else changes(comparison),
        "command": command,
    }


def _strip(asked: Asked) -> Mapping[str, Any]:
    return {"rows": strip_rows(asked, [asked.once(flow).name])}


def _graph(asked: Asked) -> Mapping[str, Any]:
    """Return the picture; its boxes lead to the text of their steps."""
    stored, around = asked.once(_shown), asked.query.get("around", "")[:_LONGEST]
    sheet = place(part(of_definition(stored.as_definition()), around or None))
    drawn = picture(sheet, {}, title=f"steps of {stored.name}", name="flow", link="#step-")
    return {"picture": Markup(drawn)}  # noqa: S704 (drawn by us, escaped there)


def _source(asked: Asked) -> Mapping[str, Any]:
    """Return the lines of the text, with the steps that begin on each."""
    stored = asked.once(_shown)
    text = stored.source or ""
    steps: dict[int, str] = {}
    for slug, position in step_positions("", text, stored.name).items():
        steps.setdefault(int(position.split(":")[-2]), slug)
    lines = text.splitlines()
    return {
        "lines": [(line, steps.get(at, "")) for at, line in enumerate(lines[:MOST_LINES], 1)],
        "more": max(0, len(lines) - MOST_LINES),
        "version": stored.version,
        "active": stored.active,
    }


def _list(asked: Asked) -> Mapping[str, Any]:
    summary, every = asked.once(flow), asked.once(_versions)
    rows = [
        {
            "version": row["version"],
            "active": row["active"],
            "runs": run_counts(row["runs"]),
            "created_at": row["created_at"],
            "by": row["created_by"],
            "commit": commit(row["git"]),
            "author": (row["git"] or {}).get("author", ""),
            "before": every[at].get("version") if at < len(every) else None,
        }
        for at, row in enumerate(every[:MOST_VERSIONS], 1)
    ]
    return {
        "rows": rows,
        "more": max(0, len(every) - MOST_VERSIONS),
        "flow": summary.as_json(),
        "shown": asked.once(_shown).version,
    }


def _schedules(asked: Asked) -> Mapping[str, Any]:
    name = asked.once(flow).name
    rows = [row.as_json() for row in asked.once(schedules) if row.flow == name]
    return {
        "rows": [
            {
                "schedule": row,
                "next": next_tick(row, time_words),
                "note": schedule_note(row, time_words),
            }
            for row in rows
        ]
    }


PAGE = Page(
    path="/flows/{flow}",
    name="flow",
    read=_read,
    json=_json,
    parts={
        "strip": Part(read=_strip, watch=lambda _: RUNS),
        "graph": Part(read=_graph),
        "versions": Part(read=_list),
        "schedules": Part(read=_schedules),
        "source": Part(read=_source),
    },
)
