"""Sending the lines of calls that go on, once a second, on the upkeep thread."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING

from pgflow_yaml.database.store import Refused
from pgflow_yaml.worker.upkeep import Duty

if TYPE_CHECKING:
    from pgflow_yaml.database.store import Store
    from pgflow_yaml.worker.logs.logs import Batch, Logs

log = logging.getLogger(__name__)

SEND_SECONDS = 1.0
_BETWEEN_LINES = 10.0
_UNKNOWN_WORKER = "23503"  # its row was deleted: the next turn registers it again


class SendLogs(Duty):
    """Send what calls have said and no turn has carried; nothing said, nothing done."""

    name = "log lines of handlers"

    def __init__(self, worker: str, logs: Logs) -> None:
        super().__init__()
        self._worker = worker
        self._logs = logs
        self._lost_before = 0
        self._told_at = -math.inf

    def work(self, store: Store) -> float:
        """Send one batch."""
        self._tell_losses()
        batch = self._logs.take()
        if batch:
            self._send(batch, store)
        rest = self._logs.rest()
        return math.inf if rest is None else rest

    def flush(self, store: Store) -> None:
        """Send all there is, at the end of the worker."""
        while batch := self._logs.take():
            self._send(batch, store)

    def _send(self, batch: Batch, store: Store) -> None:
        try:
            store.write_logs(self._worker, batch.as_json())
        except Refused as error:
            if not error.is_content or error.sqlstate == _UNKNOWN_WORKER:
                self._logs.put_back(batch)
                raise
            self._send_apart(batch, store)
        except BaseException:
            self._logs.put_back(batch)
            raise

    def _send_apart(self, batch: Batch, store: Store) -> None:
        """Send each part alone: one that the database refuses must not cost the others."""
        from pgflow_yaml.worker.logs.logs import Batch

        parts, batch.parts, batch.size = batch.parts, [], 0
        for number, part in enumerate(parts):
            alone = Batch([part], [], part.size)
            try:
                store.write_logs(self._worker, alone.as_json())
            except Refused as error:
                if error.is_content and not part.is_given_up:
                    log.warning(
                        "log lines of a handler lost, the database refused them: %s",
                        error,
                        extra=part.log.task.fields("logs"),
                    )
                    self._logs.lose(part)
                elif not error.is_content:
                    left = parts[number:]
                    self._logs.put_back(Batch(left, [], sum(part.size for part in left)))
                    raise

    def _tell_losses(self) -> None:
        lost = self._logs.lost - self._lost_before
        if lost and time.monotonic() - self._told_at > _BETWEEN_LINES:
            self._told_at = time.monotonic()
            self._lost_before = self._logs.lost
            log.warning(
                "log lines of handlers lost, the database did not take them in time: %d",
                lost,
                extra={"action": "logs"},
            )
