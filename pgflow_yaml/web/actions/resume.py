"""Resume the schedules of a flow, or one of them; resume a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from pgflow_yaml.client import outcomes
from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.language.model import Catchup
from pgflow_yaml.web.actions.pause import ask_queue, ask_schedules, schedule_of
from pgflow_yaml.web.table import Action, Done

if TYPE_CHECKING:
    from pgflow_yaml.web.asked import Asked


def _schedules(asked: Asked) -> Done:
    flow = asked.params["flow"]
    catchup = _catchup(asked.form.get("catchup", ""))
    rows = asked.client.resume(flow, schedule_of(asked), catchup=catchup, by=asked.user.name)
    return Done(to="/schedules", said="; ".join(outcomes.resumed(row) for row in rows))


def _catchup(text: str) -> Catchup | None:
    """Return what becomes of the ticks of the pause; they start nothing if nothing is chosen."""
    values: tuple[Catchup, ...] = get_args(Catchup)
    if not text:
        return None
    for value in values:
        if value == text:
            return value
    raise WrongSetting(f'catchup "{text}": write {", ".join(values)}')


def _queue(asked: Asked) -> Done:
    row = asked.client.resume_queue(asked.params["queue"], by=asked.user.name)
    return Done(to="/queues", said=outcomes.resumed(row))


SCHEDULES = Action(path="/schedules/{flow}/resume", name="resume", ask=ask_schedules, do=_schedules)
QUEUE = Action(path="/queues/{queue}/resume", name="resume", ask=ask_queue, do=_queue)
