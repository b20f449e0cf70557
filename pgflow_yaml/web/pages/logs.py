"""The page of the log of a run: the newest lines that the filters of the address find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pgflow_yaml.client import lookup
from pgflow_yaml.client.reading import no_lines
from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.language.durations import milliseconds
from pgflow_yaml.runs.logs import LEVELS, LogFilter
from pgflow_yaml.runs.run import run_name
from pgflow_yaml.web.pages import queries
from pgflow_yaml.web.pages.of_step import outline, watched
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.runs.logs import LogLine
    from pgflow_yaml.web.asked import Asked

FILTERS = ("step", "index", "attempt", "level", "failed", "since", "q", "newer")
SHOWN, MOST = 500, 10_000


def _chosen(asked: Asked) -> LogFilter:
    """Return the filters of the address; raises WrongSetting or NotFound for a wrong one."""
    queries.check(asked, FILTERS)
    names = tuple(name for name in asked.query.getlist("step") if name)
    for name in names:
        lookup.step(asked.once(outline), name)
    since = asked.query.get("since", "")
    lasted = milliseconds(since) if since else None
    if since and lasted is None:
        raise WrongSetting(f'since "{since}" is not a duration; write 30m, 2h or 7d')
    return LogFilter(
        steps=names or None,
        index=queries.number(asked, "index"),
        attempt=queries.number(asked, "attempt", least=1),
        failed=queries.choice(asked, "failed", ("1",)) == "1",
        level=queries.choice(asked, "level", LEVELS) or None,
        since=None if lasted is None else lasted / 1000,
    )


def _newer(asked: Asked) -> int:
    """Return how many newer lines the page leaves out."""
    return queries.number(asked, "newer", most=MOST) or 0


def _found(asked: Asked) -> tuple[Sequence[LogLine], bool]:
    """Return the lines of the page, the oldest first, and whether there are older ones."""
    chosen, text = asked.once(_chosen), asked.query.get("q", "").casefold()
    until = asked.once(_newer)
    limit = MOST if text else until + SHOWN + 1
    lines = asked.client.run_logs(asked.once(outline)["run"]["id"], chosen, limit=limit)
    if text:
        lines = [line for line in lines if text in line.text.casefold()]
    end = max(len(lines) - until, 0)
    return lines[max(end - SHOWN, 0) : end], end > SHOWN


def _json(asked: Asked) -> object:
    return [line.as_json() for line in asked.once(_found)[0]]


def _read(asked: Asked) -> Mapping[str, Any]:
    shown = asked.once(outline)
    run, query = shown["run"], asked.query
    asked.once(_chosen)
    asked.once(_newer)
    return {
        "run": run,
        "name": f"Log · {run_name(run)}",
        "slugs": [step["slug"] for step in shown["steps"] if step["action"] == "handler"],
        "query": query,
        "steps": query.getlist("step"),
        "levels": LEVELS,
        "path": f"/runs/{run['id']}/logs",
        "json": f"/runs/{run['id']}/logs.json" + (f"?{query}" if query else ""),
        "command": _command(run["id"], asked),
    }


def _command(run: str, asked: Asked) -> str:
    """Return the command that shows the same lines; it has no filter for a text."""
    words = ["pgflow-yaml logs", run[:8]]
    for name, value in asked.query.multi_items():
        if name == "failed" and value:
            words.append("--failed")
        elif name not in ("q", "newer", "failed") and value:
            words.append(f"--{name} {value}")
    return " ".join(words)


def _lines(asked: Asked) -> Mapping[str, Any]:
    lines, more = asked.once(_found)
    run, newer = asked.once(outline)["run"], asked.once(_newer)
    filtered = asked.once(_chosen) != LogFilter() or bool(asked.query.get("q"))
    rest = [(name, value) for name, value in asked.query.multi_items() if name != "newer"]

    def at(count: int) -> str:
        given = [*rest, ("newer", str(count))] if count else rest
        return f"/runs/{run['id']}/logs" + (f"?{urlencode(given)}" if given else "")

    return {
        "run": run,
        "lines": [line.as_json() for line in lines],
        "older": at(newer + SHOWN) if more and newer + SHOWN <= MOST else "",
        "ends": more and newer + SHOWN > MOST,
        "newer": at(max(newer - SHOWN, 0)) if newer else "",
        "empty": "" if lines else _none(asked, filtered=filtered),
        "most": MOST,
        "text": asked.query.get("q", ""),
    }


def _watched(asked: Asked) -> str:
    """Return what the lines depend on: older pages, which would slide, and searches stay."""
    return "" if asked.once(_newer) or asked.query.get("q") else watched(asked)


def _none(asked: Asked, *, filtered: bool) -> str:
    """Return the sentence about no line, as the command says it."""
    run = asked.once(outline)["run"]["id"]
    if filtered and asked.query.get("q") and asked.client.run_logs(run, limit=1):
        return "no line matches"
    return no_lines(asked.client, run, asked.once(_chosen))


PAGE = Page(
    path="/runs/{run}/logs",
    name="logs",
    read=_read,
    json=_json,
    parts={"lines": Part(read=_lines, watch=_watched)},
)
