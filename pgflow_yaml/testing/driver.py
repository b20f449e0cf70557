"""Play one run in virtual time: a single thread is worker, sender of events and clock.

Each turn reports the tasks that are due, claims tasks, and calls their handlers or mocks. When
there is nothing to do, the clock jumps to the next moment, until the run has ended or is stuck.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING
from uuid import uuid4

from pgflow_yaml.database.store import Links, set_clock
from pgflow_yaml.testing.calling import Caller
from pgflow_yaml.testing.waiting import Waits, why_stuck
from pgflow_yaml.worker.reply import unpack
from pgflow_yaml.worker.task import Sources, StepCall
from pgflow_yaml.worker.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.snapshot import Snapshot
    from pgflow_yaml.testing.model import Case, Mock
    from pgflow_yaml.worker.calls import Handlers
    from pgflow_yaml.worker.task import Task

_QUANTITY = 1_000
_LEASE = 100 * 365 * 86_400.0  # there is no other worker: no lease may expire
_MOST_TURNS = 20_000
_LONGEST = timedelta(days=3_650)
_ENDLESS = "the run had not ended after ten years of its time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """Result of a run: its snapshot, the arguments of each step, the reason if it is stuck."""

    snapshot: Snapshot
    arguments: Mapping[str, Json]
    """The arguments of each step's last call."""
    stuck: str | None


@dataclass(slots=True)
class Driver:
    """Player of cases over one connection to a database of its own."""

    store: Store
    handlers: Handlers
    worker: str = field(default_factory=lambda: str(uuid4()))
    specs: dict[str, StepCall] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Register the only worker of the database."""
        self.store.register_worker(self.worker, None, {})

    def play(self, case: Case, start: Callable[[], str]) -> Played:
        """Play the run of a case to its end; `start` starts it, at its time, and returns its id."""
        return _Play(self, case).run(start)


class _Play:
    """One run being played."""

    def __init__(self, driver: Driver, case: Case) -> None:
        self.driver, self.store = driver, driver.store
        self.now = case.now
        self.until = case.now + _LONGEST
        self.due: list[tuple[datetime, int, Task | Callable[[], None]]] = []
        self.number = count()
        self.mocks: dict[str, Mapping[str, Mock]] = {}
        # A handler with `tx` commits in the database of the tests, at the time of the run.
        self.links = Links(self.store.conninfo, more=lambda: [set_clock(self.now.isoformat())])
        self.caller = Caller(driver.handlers, Transactions(driver.worker, self.links))
        self.case = case
        self.queues = self.store.served_queues()
        self.root = ""

    def run(self, start: Callable[[], str]) -> Played:
        try:
            return self._run(start)
        finally:
            self.links.close()

    def _run(self, start: Callable[[], str]) -> Played:
        self.store.set_clock(self.now.isoformat())
        self.root = start()
        self.mocks[self.root] = self.case.mocks
        waits = Waits(self.store, self.mocks_of, self.plan)
        stuck = None
        for _ in range(_MOST_TURNS):
            if self._work():
                continue
            snapshot = self.store.run_snapshot(self.root, outputs=False)
            assert snapshot is not None
            if snapshot["run"]["status"] != "started" and not self.due:
                break
            waits.plan_decisions(snapshot)
            next_moment = self._next_moment()
            if next_moment is None or next_moment > self.until:
                stuck = _ENDLESS
                if next_moment is None:
                    stuck = why_stuck(self.store, snapshot, waits.refused)
                break
            # A message that is visible already but was not claimed is retried 1 ms later.
            self.now = max(next_moment, self.now + timedelta(milliseconds=1))
            self.store.set_clock(self.now.isoformat())
        else:
            stuck = f"the run had not ended after {_MOST_TURNS:,} turns"
        return self._result(stuck)

    def mocks_of(self, run_id: str) -> Mapping[str, Mock]:
        """Return the mocks of a run: a child's are those of the step that started it."""
        if run_id not in self.mocks:
            snapshot = self.store.run_snapshot(run_id, outputs=False)
            parent = snapshot["run"]["parent"] if snapshot else None
            mock = self.mocks_of(parent["id"]).get(parent["step"]) if parent else None
            self.mocks[run_id] = mock.mocks if mock else {}
        return self.mocks[run_id]

    def plan(self, at: datetime, action: Callable[[], None]) -> None:
        """Schedule an action at a time of the run."""
        heapq.heappush(self.due, (max(at, self.now), next(self.number), action))

    def _work(self) -> bool:
        """Report due tasks, claim and call others; return False when there was nothing to do."""
        ended, acted = [], False
        while self.due and self.due[0][0] <= self.now:
            _, _, item = heapq.heappop(self.due)
            if callable(item):
                item()
                acted = True
            else:
                ended.append(item)
        reply = self.store.turn(
            self.driver.worker,
            [task.report() for task in ended],
            queues=self.queues,
            quantity=_QUANTITY,
            lease=_LEASE,
        )
        # Tests print arguments and have no secrets, so a secret is replaced by its name.
        sources = Sources(run_input=self.store.run_input, secret="<secrets.{}>".format)
        for task in unpack(reply, self.driver.specs, sources):
            mock = self.mocks_of(task.run_id).get(task.step)
            in_root = task.run_id == self.root
            duration = self.caller.call(task, mock, noted_as=task.step if in_root else None)
            if task.outcome is not None and task.outcome.verdict is not None:
                continue  # it has committed in the transaction of its handler
            at = self.now + timedelta(milliseconds=duration)
            heapq.heappush(self.due, (at, next(self.number), task))
        return bool(ended or acted or reply["tasks"])

    def _next_moment(self) -> datetime | None:
        """Return the next time at which something happens; None when nothing will."""
        moments = [self.store.next_wake(), self.due[0][0] if self.due else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def _result(self, stuck: str | None) -> Played:
        snapshot = self.store.run_snapshot(self.root, items=True)
        assert snapshot is not None
        return Played(snapshot=snapshot, arguments=self.caller.arguments, stuck=stuck)
