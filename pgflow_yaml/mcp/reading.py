"""The answers of the tools that only look: the JSON of the commands, with their sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.client import lookup
from pgflow_yaml.client.reading import check_steps, no_lines, read_run
from pgflow_yaml.errors import NotFound, WrongSetting
from pgflow_yaml.language.durations import seconds
from pgflow_yaml.runs.logs import LogFilter
from pgflow_yaml.runs.shown import reason_sentences, with_reasons
from pgflow_yaml.runs.snapshot import STATUS_PHRASES
from pgflow_yaml.runs.waits import answer_command

if TYPE_CHECKING:
    from pgflow_yaml.client import Client
    from pgflow_yaml.runs.filters import RunFilters
    from pgflow_yaml.runs.snapshot import AwaitedShape

    Answer = dict[str, Any]


def list_runs(client: Client, *, limit: int = 20, **given: Any) -> Answer:
    """Return runs, the newest first."""
    filters = cast("RunFilters", dict(given))
    for name in ("since", "older"):
        if name in given:
            filters[name] = _seconds(given[name], name)
    if (flow := filters.get("flow")) is not None:
        lookup.must_be_flow(client.list_flows(counts=False), flow)
    if (parent := filters.get("parent")) is not None:
        filters["parent"] = lookup.run_id(client, parent)
    return {"runs": [run.as_json() for run in client.list_runs(limit=limit, **filters)]}


def _seconds(text: str, name: str) -> float:
    length = seconds(text)
    if length is None:
        raise WrongSetting(f'{name} "{text}" is not a duration; write 30s, 5m, 2h or 7d')
    return length


def show_run(
    client: Client, *, run: str, step: str | None = None, item: int | None = None
) -> Answer:
    """Return a run with its steps, errors and child runs, and why it has not ended."""
    if item is not None and step is None:
        raise WrongSetting("item needs the step that it belongs to")
    run_id = lookup.run_id(client, run)
    snapshot = read_run(client, run_id, step=step, item=item)
    return with_reasons(snapshot, client.why(run_id), step)


def explain_waiting(client: Client, *, run: str) -> Answer:
    """Return a sentence for each step that a run waits for."""
    run_id = lookup.run_id(client, run)
    snapshot = lookup.snapshot(client, run_id, outputs=False)
    state = snapshot["run"]
    answer: Answer = {"run": run_id, "flow": state["flow"], "status": state["status"]}
    if state["status"] != "started":
        return {**answer, "waits_for_nothing": f"the run {STATUS_PHRASES[state['status']]}"}
    return {**answer, "why": reason_sentences(snapshot, client.why(run_id))}


def read_logs(
    client: Client, *, run: str, step: str | None = None, limit: int = 200, **given: Any
) -> Answer:
    """Return the last lines that the handlers of a run printed and logged."""
    steps = () if step is None else (step,)
    if "since" in given:
        given["since"] = _seconds(given["since"], "since")
    chosen = LogFilter(steps=steps or None, **given)
    run_id = lookup.run_id(client, run)
    check_steps(client, run_id, steps)
    lines = [line.as_json() for line in client.run_logs(run_id, chosen, limit=limit)]
    if not lines:
        return {"run": run_id, "lines": [], "no_lines": no_lines(client, run_id, chosen)}
    return {"run": run_id, "lines": lines}


def list_flows(client: Client) -> Answer:
    """Return the flows in the database."""
    return {"flows": [flow.as_json() for flow in client.list_flows()]}


def show_flow(client: Client, *, flow: str, version: str | None = None) -> Answer:
    """Return the YAML of a flow, of its active version or another one."""
    if version is None:
        stored = lookup.active(client, flow)
    else:
        found = client.get_definition(flow, lookup.version(client, flow, version))
        if found is None:
            raise NotFound(f'flow "{flow}" has no version "{version}" any more')
        stored = found
    return {
        "name": stored.name,
        "version": stored.version,
        "active": stored.active,
        "yaml": stored.source,
    }


def list_waiting(client: Client, *, limit: int = 50) -> Answer:
    """Return the waits for events, the longest first, each with the command that ends it."""
    waiting = [_wait(step.as_json()) for step in client.list_waiting(limit=limit)]
    if len(waiting) == limit:
        return {"waiting": waiting, "looked_at": f"the {limit} longest waits"}
    return {"waiting": waiting}


def _wait(step: Answer) -> Answer:
    """Return a waiting step with its command, without what it does not have."""
    given = {name: value for name, value in step.items() if value is not None}
    return {**given, "answer": answer_command(cast("AwaitedShape", given))}


def doctor(client: Client) -> Answer:
    """Return the findings about the database, and how to mend each."""
    report = client.examine()
    return {"summary": report.summary, **report.as_json()}
