"""Send an event to a run that waits for it, or will."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import outcomes
from pgflow_yaml.errors import PgflowError, WrongSetting
from pgflow_yaml.language.json_text import NotJson, read_json
from pgflow_yaml.runs.run import run_name
from pgflow_yaml.runs.snapshot import STATUS_PHRASES
from pgflow_yaml.web.pages.of_run import run_id, snapshot
from pgflow_yaml.web.table import Action, Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.web.asked import Asked


def _events(asked: Asked) -> list[str]:
    """Return the events that may still be sent, first those that a step waits for now."""
    shown = asked.once(snapshot)
    run = shown["run"]
    stored = asked.client.get_definition(run["flow"], run["version"])
    body: Mapping[str, Any] = {} if stored is None else stored.definition
    steps = {**body.get("steps", {}), **body.get("finally", {})}
    states = [state for state in shown["steps"] if state["answer"] is None]
    states.sort(key=lambda state: state["status"] != "waiting")
    waits = [
        steps.get(state["slug"], {}).get("wait", {})
        for state in states
        if state["status"] in ("created", "waiting")
    ]
    open_to_all = [
        str(wait["event"])
        for wait in waits
        if "event" in wait and "form" not in wait and "by" not in wait
    ]
    return list(dict.fromkeys(open_to_all))


def _ask(asked: Asked) -> Mapping[str, Any]:
    run, events = asked.once(snapshot)["run"], asked.once(_events)
    return {
        "run": run,
        "name": run_name(run),
        "ended": "" if run["status"] == "started" else STATUS_PHRASES[run["status"]],
        "events": events,
        "event": asked.form.get("event", asked.query.get("event", "")),
        "data": asked.form.get("data", ""),
        "command": f"pgflow-yaml send {run['id'][:8]} EVENT --data JSON",
    }


def _do(asked: Asked) -> Done:
    run, event = run_id(asked), asked.form.get("event", "")
    if not event:
        raise WrongSetting("choose the event")
    if event not in asked.once(_events):
        known = outcomes.unknown_event(asked.client, run, event)
        raise PgflowError(known or f'no step of this run waits for the event "{event}" any more')
    text = asked.form.get("data", "").strip()
    try:
        data = read_json(text) if text else None
    except NotJson as error:
        raise WrongSetting(f"the data is not JSON: {error}") from None
    result = asked.client.send(run, event, data, by=asked.user.name)
    return Done(to=f"/runs/{run}", said=f"{event}: {outcomes.sent(result)}")


ACTION = Action(path="/runs/{run}/send", name="send", ask=_ask, do=_do)
