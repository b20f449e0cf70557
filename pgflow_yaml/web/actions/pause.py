"""Pause the schedules of a flow, or one of them; pause a queue. And what `resume` asks as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import lookup, outcomes
from pgflow_yaml.errors import NotFound
from pgflow_yaml.runs.listed import schedule_note
from pgflow_yaml.web.table import Action, Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.web.asked import Asked


def schedule_of(asked: Asked) -> str | None:
    """Return the name of the only schedule that is meant, if one is."""
    return asked.form.get("schedule") or asked.query.get("schedule") or None


def ask_schedules(asked: Asked) -> Mapping[str, Any]:
    """Return the schedules of the flow in the path that are meant; raises NotFound for none."""
    flow, name = asked.params["flow"], schedule_of(asked)
    lookup.must_be_flow(asked.client.list_flows(counts=False), flow)
    found = [each for each in asked.client.list_schedules(flow) if name in (None, each.name)]
    if not found:
        raise NotFound(f'flow "{flow}" has no such schedule; `pgflow-yaml schedules` lists them')
    rows = [(each.name, schedule_note(each.as_json())) for each in found]
    return {"subject": flow, "schedule": name or "", "rows": rows, "back": "/schedules"}


def ask_queue(asked: Asked) -> Mapping[str, Any]:
    """Return the queue in the path; raises NotFound for one that is none."""
    name = asked.params["queue"]
    if name not in (each.queue for each in asked.client.list_queues()):
        raise NotFound(f'no flow uses a queue "{name}"; `pgflow-yaml queues` lists them')
    return {"subject": f"queue {name}", "schedule": "", "rows": [], "back": "/queues"}


def _schedules(asked: Asked) -> Done:
    flow = asked.params["flow"]
    rows = asked.client.pause(flow, schedule_of(asked), by=asked.user.name)
    return Done(to="/schedules", said="; ".join(outcomes.paused(row) for row in rows))


def _queue(asked: Asked) -> Done:
    row = asked.client.pause_queue(asked.params["queue"], by=asked.user.name)
    return Done(to="/queues", said=outcomes.paused(row))


SCHEDULES = Action(path="/schedules/{flow}/pause", name="pause", ask=ask_schedules, do=_schedules)
QUEUE = Action(path="/queues/{queue}/pause", name="pause", ask=ask_queue, do=_queue)
