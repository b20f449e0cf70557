"""Reading the log of a run, once or until the run ends."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from pgflow_yaml.client.flows import FlowClient
from pgflow_yaml.client.ids import checked_id, no_run
from pgflow_yaml.runs.logs import LogFilter, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgflow_yaml.database.store import LogReply
    from pgflow_yaml.runs.logs import LogLine

# Ids are not in the order of the commits: what is younger is asked for again, without the rows that
# are known.
_UNCERTAIN_SECONDS = 5.0
_PAUSE = 0.5
# A run that did not complete may end before calls that were told to stop have said their last.
_LAST_WORDS_SECONDS = 1.5

_LINES_A_LOOK = 10_000

Ask: TypeAlias = "Callable[[int, Sequence[int]], LogReply]"
"""A function of the greatest id that is certain and the ids that are known beyond it."""


class LogClient(FlowClient):
    """A client that reads the logs of runs."""

    def run_logs(
        self, run_id: str, chosen: LogFilter | None = None, *, limit: int = 1000
    ) -> list[LogLine]:
        """Return the last lines that handlers of a run printed and logged; raises NotFound."""
        reply = self._log_reply(run_id, chosen or LogFilter(), limit=limit)
        return _newest(reply, limit)

    def follow_logs(
        self, run_id: str, chosen: LogFilter | None = None, *, limit: int = 1000
    ) -> Iterator[LogLine]:
        """Yield the last lines of a run, then new ones as they come, until the run has ended."""
        chosen = chosen or LogFilter()

        def ask(after: int, seen: Sequence[int]) -> LogReply:
            return self._log_reply(run_id, chosen, after=after, seen=seen, limit=_LINES_A_LOOK)

        # Also for no old lines: the newest row tells where new ones begin.
        first = self._log_reply(run_id, chosen, limit=max(limit, 1))
        return _follow(first, ask, limit=limit)

    def _log_reply(self, run_id: str, chosen: LogFilter, **where: Any) -> LogReply:
        reply = self._store.run_logs(checked_id(run_id), chosen, **where)
        if reply is None:
            raise no_run(run_id)
        return reply


def _newest(reply: LogReply, limit: int) -> list[LogLine]:
    """Return the last lines of a reply."""
    lines = in_order(reply["rows"])
    return lines[max(len(lines) - limit, 0) :]


def _follow(first: LogReply, ask: Ask, *, limit: int) -> Iterator[LogLine]:
    """Yield the last lines of a reply, then those that come, until the run has ended."""
    known = _Known(first)
    yield from _newest(first, limit)
    reply, ended_at = first, None
    while True:
        if reply["status"] != "started" and ended_at is None:
            ended_at = time.monotonic()
        reply = ask(known.certain(), known.ids())
        known.add(reply)
        yield from in_order(reply["rows"])
        if reply["rows"]:
            continue
        if ended_at is not None:
            left = 0.0 if reply["status"] == "completed" else _LAST_WORDS_SECONDS
            if time.monotonic() - ended_at >= left:
                return
        time.sleep(_PAUSE)


class _Known:
    """The ids of the rows that were read, as far as older ones may still come."""

    def __init__(self, first: LogReply) -> None:
        ids = [row["id"] for row in first["rows"]]
        self._certain = min(ids) - 1 if ids else 0
        self._read: deque[tuple[float, int]] = deque()
        self.add(first)

    def add(self, reply: LogReply) -> None:
        """Note the rows of a reply."""
        now = time.monotonic()
        ids = [row["id"] for row in reply["rows"]]
        if reply["last"] is not None:
            ids.append(reply["last"])  # a row whose lines do not match
        self._read.extend((now, number) for number in ids)

    def certain(self) -> int:
        """Return the greatest id below which nothing new can come."""
        before = time.monotonic() - _UNCERTAIN_SECONDS
        while self._read and self._read[0][0] < before:
            self._certain = max(self._certain, self._read.popleft()[1])
        return self._certain

    def ids(self) -> list[int]:
        """Return the ids beyond it."""
        return [number for _, number in self._read if number > self._certain]
