"""A storm: runs start, people meddle, faults strike, all in an order that the seed decides."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from pgflow_yaml import Client
from pgflow_yaml.errors import PgflowError, Unavailable
from pgflow_yaml.project.flow_set import FlowSet
from tests.chaos import mix, oracle
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from tests.chaos.fleet import Fleet, Undo
    from tests.chaos.mix import Plan, Signal

    Strike = Callable[[random.Random], Undo | None]

_SOON = 12  # a signal comes within so many starts after that of its run


@dataclass(frozen=True, slots=True)
class Weather:
    """How much happens, and for how long."""

    runs: int
    kills: int
    seconds: float
    largest: int = 12
    patience: float = 60.0
    """How long the runs may take after the last action."""


@dataclass(slots=True)
class Aftermath:
    """What a storm came to."""

    seed: int
    seconds: float = 0.0
    runs: int = 0
    tasks: int = 0
    kills: int = 0
    crashes: int = 0
    late: int = 0
    faults: list[str] = field(default_factory=list)


class Storm:
    """The actors on one database, and the script that they play."""

    def __init__(
        self,
        conninfo: str,
        fleet: Fleet,
        weather: Weather,
        *,
        seed: int,
        strikes: Mapping[Strike, int] | None = None,
    ) -> None:
        """`strikes` are faults besides the kills of workers, and how often each strikes.

        A strike may return after how many seconds it is undone, and how.
        """
        self.chance = random.Random(seed)
        self.seed = seed
        self.weather = weather
        self.fleet = fleet
        self.plans: dict[str, Plan] = {}
        self._conninfo = conninfo
        self._client = Client(conninfo, patience=60)
        self._ids: dict[str, str] = {}
        self._undoing: dict[Strike, Future[None]] = {}
        self._helpers = ThreadPoolExecutor()
        self._script = self._write({fleet.kill: weather.kills, **(strikes or {})})

    def _write(self, strikes: Mapping[Strike, int]) -> list[Callable[[], None]]:
        """Return the actions in their order: starts, each before its signals, and strikes."""
        script: list[tuple[float, Callable[[], None]]] = []
        count = self.weather.runs
        for nr in range(count):
            plan = mix.draw(self.chance, self.weather.largest)
            key = f"run-{nr}"
            script.append((nr, self._starts(key, plan)))
            place = float(nr)
            for signal in plan.signals:
                place += self.chance.uniform(0, _SOON)
                script.append((place, self._signals(key, signal)))
        for strike, times in strikes.items():
            script += [(self.chance.uniform(0, count), self._strikes(strike)) for _ in range(times)]
        return [action for _, action in sorted(script, key=lambda entry: entry[0])]

    def _starts(self, key: str, plan: Plan) -> Callable[[], None]:
        def start() -> None:
            run = self._client.start_run(plan.flow, dict(plan.input), key=key).run_id
            self.plans[run] = plan
            self._ids[key] = run

        return start

    def _signals(self, key: str, signal: Signal) -> Callable[[], None]:
        name, *rest = signal

        def send() -> None:
            try:
                getattr(self._client, name)(self._ids[key], *rest)
            except Unavailable:
                raise
            except PgflowError as error:
                if "has ended" not in str(error):
                    raise

        return send

    def _strikes(self, strike: Strike) -> Callable[[], None]:
        chance = random.Random(self.chance.random())

        def begin() -> None:
            if strike in self._undoing:
                self._undoing[strike].result()
            undo = strike(chance)
            if undo is not None:
                self._undoing[strike] = self._helpers.submit(_later, *undo)

        return begin

    def play(self) -> Aftermath:
        """Play the script, wait until all runs have ended, and judge."""
        began = time.monotonic()
        self._client.deploy(FlowSet.load(sorted(mix.APP.glob("*.yaml"))))
        pause = 2 * self.weather.seconds / len(self._script)
        with psycopg.connect(self._conninfo, autocommit=True) as db:
            oracle.call_witnesses(db)
        for action in self._script:
            action()
            time.sleep(self.chance.uniform(0, pause))  # the pace of the storm
        for undoing in self._undoing.values():
            undoing.result()
        after = Aftermath(self.seed)
        with psycopg.connect(self._conninfo, autocommit=True) as db:
            self._calm(db)
            self._judge(db, after)
        self._client.close()
        after.seconds = time.monotonic() - began
        return after

    def _calm(self, db: psycopg.Connection) -> None:
        """Wait until no run goes on and no queue holds a message; the oracle names what does."""

        def is_calm() -> bool:
            self.fleet.mend()
            return not (oracle.answers(db, oracle.STUCK) or list(oracle.queues(db)))

        with suppress(AssertionError):
            eventually(is_calm, seconds=self.weather.patience)

    def _judge(self, db: psycopg.Connection, after: Aftermath) -> None:
        after.faults += self.fleet.stop()
        after.kills = self.fleet.kills
        after.faults += self.fleet.faults()
        calls = oracle.journal(self.fleet.folder)
        after.faults += oracle.verdict(db, self.plans, calls)
        query = """
            select count(distinct run_id), count(*), coalesce(sum(crashes_count), 0)
            from pgflow.step_tasks where status = 'completed'
        """
        row = db.execute(query).fetchone()
        assert row is not None
        after.runs, after.tasks, after.crashes = map(int, row)
        after.late = self.fleet.said("late result refused")


def _later(seconds: float, undo: Callable[[], object]) -> None:
    time.sleep(seconds)  # the length of a fault
    undo()
