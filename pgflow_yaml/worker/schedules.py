"""The schedules of flows: a worker reckons their ticks, the database starts the runs."""

from __future__ import annotations

import logging
import math
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING

from pgflow_yaml.language import ticks
from pgflow_yaml.text import plural
from pgflow_yaml.worker.failpoints import failpoint
from pgflow_yaml.worker.upkeep import Duty

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.database.store import DueSchedule, Store, TimersReply

log = logging.getLogger(__name__)


class Schedules(Duty):
    """Fire what replies say is due, each schedule once; any other worker may do so as well."""

    name = "schedules"

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` makes the upkeep thread call `work` soon."""
        super().__init__()
        self._wake = wake
        self._due: deque[DueSchedule] = deque()

    def add(self, reply: TimersReply) -> None:
        """Note the schedules of a reply; any thread calls this."""
        due = reply.get("schedules")
        if due:
            self._due.extend(due)
            self._wake()

    def work(self, store: Store) -> float:
        """Fire the next schedule."""
        try:
            schedule = self._due.popleft()
        except IndexError:
            return math.inf
        failpoint("fire")
        _fire(store, schedule)
        return 0.0 if self._due else math.inf


def _fire(store: Store, schedule: DueSchedule) -> None:
    seen = None if schedule["tick"] is None else datetime.fromisoformat(schedule["tick"])
    now = datetime.fromisoformat(schedule["now"])
    flow, name = schedule["flow"], schedule["name"]
    try:
        due = ticks.due(schedule["spec"], seen=seen, now=now, catchup=schedule["catchup"])
    except ticks.NoTicks as error:
        reply = store.fire_schedule(flow, name, seen, problem=str(error))
    else:
        reply = store.fire_schedule(
            flow, name, seen, ticks=due.ticks, missed=due.missed, next_tick=due.next
        )
    subject = f'schedule "{name}" of flow {flow}'
    fields = {"flow": flow, "action": "schedule"}
    if "problem" in reply:
        log.error("%s starts nothing: %s", subject, reply["problem"], extra=fields)
    for key, words in (("fired", "started"), ("skipped", "skipped"), ("missed", "missed")):
        if reply[key] and not (key == "missed" and "problem" in reply):
            what = plural(reply[key], "run" if key == "fired" else "tick")
            log.info("%s has %s %s", subject, words, what, extra=fields)
