"""The executor that hands tasks to an engine: it connects, submits, and passes replies on.

One thread does all that concerns the engine; callbacks of futures only ring (X-7). It submits what
can begin now and little more: the waiting line is the database's (scale-out.md §4.3).
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from pgflow_yaml.errors import PgflowError, Unavailable, WrongSetting
from pgflow_yaml.worker.engines import node
from pgflow_yaml.worker.engines.engine import EngineAway
from pgflow_yaml.worker.engines.envelope import check_text
from pgflow_yaml.worker.engines.traffic import Traffic
from pgflow_yaml.worker.engines.wants import Wants
from pgflow_yaml.worker.engines.welcome import question_key, take_answer, welcome
from pgflow_yaml.worker.executors.concurrency import MOST_CALLS
from pgflow_yaml.worker.executors.waiting import WaitingTasks
from pgflow_yaml.worker.task import RELEASED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Handler
    from pgflow_yaml.worker.engines.engine import Engine
    from pgflow_yaml.worker.executors.pool import Pool
    from pgflow_yaml.worker.task import Task
    from pgflow_yaml.worker.upkeep import Duty

    Command: TypeAlias = Callable[[], None]

log = logging.getLogger(__name__)

_BELL_SECONDS = 0.2
_LOOK_SECONDS, _CAPACITY_SECONDS = 0.5, 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_REMIND_SECONDS = 60.0
_CLOSE_SECONDS = 2.0


class Bridge(WaitingTasks):
    """Hand each task to an engine, several small ones at once."""

    def __init__(
        self, pool: Pool, engine: Engine, *, lease: float = 30.0, results: str | None = None
    ) -> None:
        """`lease`: seconds for which begun calls of an engine that went away are waited for.

        `results` is a folder that all nodes share: outputs are kept there (R-16).
        """
        super().__init__(pool)
        self._engine = engine
        self._lease = lease
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._traffic = Traffic(pool, engine, self, self._queue, results=results, ring=self._ring)
        self._commands: deque[Command] = deque()
        self._capacity = 0
        self._offer: Mapping[str, float] | None = None
        self._is_ready = False  # a node has been asked for its versions
        self._is_away = False
        self._measure_at = self._look_at = self._reconnect_at = self._remind_at = 0.0
        self._pause = _FIRST_PAUSE
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="pgflow-engine", daemon=True)
        pool.handlers.ask_elsewhere(self._check_handler)
        node.in_worker()

    # What the pool calls

    def takes(self, handler: Handler) -> bool:  # noqa: ARG002 (any)
        """Return True: a node finds out what kind of handler it is."""
        return True

    def open(self) -> None:
        """Connect, and compare versions; raise Unavailable or WrongSetting for what cannot work."""
        try:
            self._engine.open()
            self._measure()
        except EngineAway as error:
            raise Unavailable(f"--executor {self._engine.name}: {error.message}") from error
        self._thread.start()

    def slots(self) -> int:
        """Return the number of calls that the engine can run now: 0 while it is away."""
        if self._is_away:
            return 0
        return max(0, min(self._pool.size, self._capacity) - len(self._traffic.stuck))

    def facts(self) -> dict[str, Json]:
        """Return what the list of workers says about the engine."""
        facts: dict[str, Json] = {"engine": self._engine.name}
        if self._is_away:
            facts["engine_away"] = True
        return facts

    def offer(self) -> Mapping[str, float] | None:
        """Return the most that a node has; None if the engine does not count resources."""
        return self._offer

    def duties(self, queues: Sequence[str] | None) -> list[Duty]:
        """Return the duty of telling a cluster that grows how many tasks wait."""
        if not self._engine.grows:
            return []
        return [Wants(queues, lambda: len(self._traffic.flights), self._want)]

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks; the thread of the engine submits them."""
        self._queue.extend(tasks)
        self._ring()

    def cancel(self, task: Task) -> None:
        """Take a call back that has not begun; one that runs goes on until its slot is taken."""
        self._tell(lambda: self._traffic.take_back(task, force=False))

    def free(self, task: Task) -> None:
        """End a call by force, where the engine can."""
        self._tell(lambda: self._traffic.take_back(task, force=True))
        self._pool.stopped(task)

    def check(self) -> None:
        """Do nothing: the thread of the engine looks after it."""

    def close(self) -> None:
        """Cancel what is left, and disconnect."""
        self._closing = True
        self._ring()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def _want(self, tasks: int) -> None:
        slots = min(tasks, self._pool.size)
        self._tell(lambda: None if self._is_away else self._engine.want(slots))

    def _check_handler(self, path: str) -> None:
        """Ask a node for a handler; raise HandlerUnavailable if it has none, or does not answer."""
        asked: SimpleQueue[Future[str]] = SimpleQueue()
        text = check_text(path)
        self._tell(lambda: asked.put(self._engine.submit(text, question_key(), {})))
        take_answer(self._engine, path, asked)

    def _tell(self, command: Command) -> None:
        self._commands.append(command)
        self._ring()

    def _ring(self) -> None:
        self._bell.put(None)

    # The thread of the engine

    def _run(self) -> None:
        while not self._closing:
            with suppress(Empty):
                self._bell.get(timeout=_BELL_SECONDS)
            while not self._bell.empty():
                self._bell.get()
            try:
                self._turn()
            except PgflowError as error:
                self._lose_engine(error.message)
            except Exception:
                log.exception("the engine %s", self._engine.name, extra={"action": "engine"})
                time.sleep(_BELL_SECONDS)
        with suppress(Exception):
            for flight in list(self._traffic.flights):
                self._traffic.cancel(flight, force=True)
        with suppress(Exception):
            self._engine.close()

    def _turn(self) -> None:
        while self._commands:
            self._commands.popleft()()
        self._traffic.settle()
        if self._is_away:
            self._try_again()
            return
        now = time.monotonic()
        if now >= self._measure_at:
            self._measure()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._traffic.look()
        self._traffic.feed(self.slots())

    def _measure(self) -> None:
        """Ask for the slots; once there are some, ask a node for its versions."""
        self._measure_at = time.monotonic() + _CAPACITY_SECONDS
        measured = self._engine.capacity()
        slots, self._offer = measured.slots, measured.resources
        if slots is None and self._pool.size == MOST_CALLS:
            raise WrongSetting(
                f"--executor {self._engine.name} does not say how many calls it runs at once: "
                "add -c N"
            )
        capacity = self._pool.size if slots is None else slots
        if capacity and not self._is_ready:
            welcome(self._engine)
            self._is_ready = True
        if capacity != self._capacity:
            self._capacity = capacity
            self._pool.changed()

    # An engine that goes away

    def _lose_engine(self, reason: str) -> None:
        """Claim nothing more, and give back what was not submitted, once."""
        if not self._is_away:
            self._is_away = True
            now = time.monotonic()
            self._remind_at = now + _REMIND_SECONDS
            self._pause = _FIRST_PAUSE
            self._reconnect_at = now + random.uniform(0, self._pause)  # noqa: S311 (jitter)
            log.warning(
                "the engine %s is away: %s; this worker claims nothing until it is back",
                self._engine.name,
                reason,
                extra={"action": "engine"},
            )
            self._pool.changed()
        for task in self.withdraw(len(self._queue)):
            self._pool.hand_in(task, RELEASED)
        self._traffic.strand()

    def _try_again(self) -> None:
        now, name = time.monotonic(), self._engine.name
        self._traffic.crash_stranded(now - self._lease, f"the engine {name} went away")
        if now >= self._remind_at:
            self._remind_at = now + _REMIND_SECONDS
            log.warning("the engine %s is still away", name, extra={"action": "engine"})
        if now < self._reconnect_at:
            return
        try:
            self._engine.open()
            self._is_ready = False
            self._measure()
        except PgflowError:
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            pause = random.uniform(0, self._pause)  # noqa: S311 (full jitter: many workers wait)
            self._reconnect_at = time.monotonic() + pause
            return
        # Never a result under a call of before.
        self._traffic.crash_stranded(math.inf, f"the engine {name} was restarted")
        self._traffic.stuck.clear()
        self._is_away = False
        log.info("the engine %s is back", name, extra={"action": "engine"})
        self._pool.changed()
