"""The tasks of a claim whose reply was lost: given back, so that no lease has to end first."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from pgflow_yaml.database.store import Refused

if TYPE_CHECKING:
    from pgflow_yaml.database.store import Store
    from pgflow_yaml.worker.leases import Leases

log = logging.getLogger(__name__)

_LONGEST_STATEMENT_SECONDS = 32.0  # the database ends a statement after 30


class LostReplies:
    """Compare what a worker owns with what it holds; used by the thread that claims."""

    def __init__(self, worker: str, store: Store, leases: Leases, lease: float) -> None:
        self._worker = worker
        self._store = store
        self._leases = leases
        self._lease = lease
        self._due: list[float] = []

    def suspect(self) -> None:
        """Compare soon, and again once no statement of the old connection can run."""
        now = time.monotonic()
        self._due = [now, now + _LONGEST_STATEMENT_SECONDS]

    def give_back(self) -> None:
        """Release the tasks that the worker owns and does not hold, if that is due."""
        if not self._due or time.monotonic() < self._due[0]:
            return
        del self._due[0]
        held = self._leases.held
        try:
            unknown = [
                json.dumps({**task, "outcome": "released"})
                for task in self._store.owned_tasks(self._worker)
                if (task["run"], task["step"], task["index"]) not in held
            ]
            if not unknown:
                return
            reply = self._store.turn(
                self._worker,
                unknown,
                queues=(),
                quantity=0,
                lease=self._lease,
                options={"skip": True},
            )
        except Refused as error:
            log.error("tasks cannot be given back: %s", error, extra={"action": "turn"})  # noqa: TRY400
            return
        if "busy" in reply["verdicts"]:  # another session holds a run
            self._due.insert(0, time.monotonic() + 1)
        log.info("tasks of a lost reply given back: %d", len(unknown), extra={"action": "turn"})
