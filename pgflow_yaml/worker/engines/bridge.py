"""The executor that hands tasks to an engine: it submits, keeps time, and passes replies on.

One thread does all that concerns the engine; callbacks of futures only ring (X-7). It submits what
can begin now and little more: the waiting line is the database's (scale-out.md §4.3).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from pgflow_yaml.errors import PgflowError, Unavailable
from pgflow_yaml.worker.attempt import failure
from pgflow_yaml.worker.engines import node
from pgflow_yaml.worker.engines.engine import EngineAway
from pgflow_yaml.worker.engines.envelope import call_key, call_text, check_text, replies
from pgflow_yaml.worker.engines.flight import Flight, bundle
from pgflow_yaml.worker.engines.landing import land
from pgflow_yaml.worker.engines.wants import Wants
from pgflow_yaml.worker.engines.welcome import question_key, take_answer, welcome
from pgflow_yaml.worker.executors.waiting import WaitingTasks
from pgflow_yaml.worker.task import RELEASED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Handler
    from pgflow_yaml.worker.engines.engine import Engine, Loss
    from pgflow_yaml.worker.executors.pool import Pool
    from pgflow_yaml.worker.task import Task
    from pgflow_yaml.worker.upkeep import Duty

    Command: TypeAlias = Callable[[], None]

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_BEGUN_SECONDS, _CAPACITY_SECONDS = 0.5, 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_REMIND_SECONDS = 60.0
QUEUE_SECONDS = 900.0
"""A call that has not begun by then is taken back: the engine does not start tasks."""
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
        self._results = results
        self._flights: set[Flight] = set()
        self._of_task: dict[Task, Flight] = {}
        self._stuck: set[Flight] = set()  # given up, and still busy for all we know
        self._apart: deque[Task] = deque()  # they were lost with others: each goes alone now
        self._done: deque[Flight] = deque()
        self._commands: deque[Command] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._wants_input: set[str] = set()
        self._capacity = 0
        self._round_trip = 0.0
        self._away_since = 0.0
        self._reconnect_at = self._remind_at = self._asked_at = self._looked_at = 0.0
        self._pause = _FIRST_PAUSE
        self._closing = False
        self._is_ready = False  # a node has been asked for its versions
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
        if self._away_since:
            return 0
        return max(0, min(self._pool.size, self._capacity) - len(self._stuck))

    def facts(self) -> dict[str, Json]:
        """Return what the list of workers says about the engine."""
        facts: dict[str, Json] = {"engine": self._engine.name}
        if self._away_since:
            facts["engine_away"] = True
        return facts

    def duties(self, queues: Sequence[str] | None) -> list[Duty]:
        """Return the duty of telling a cluster that grows how many tasks wait."""
        if not self._engine.grows:
            return []
        return [Wants(queues, lambda: len(self._flights), self._want)]

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks; the thread of the engine submits them."""
        self._queue.extend(tasks)
        self._bell.put(None)

    def cancel(self, task: Task) -> None:
        """Take a call back that has not begun; one that runs goes on until its slot is taken."""
        self._tell(lambda: self._take_back(task, force=False))

    def free(self, task: Task) -> None:
        """End a call by force, where the engine can."""
        self._tell(lambda: self._take_back(task, force=True))
        self._pool.stopped(task)

    def check(self) -> None:
        """Do nothing: the thread of the engine looks after it."""

    def _want(self, tasks: int) -> None:
        slots = min(tasks, self._pool.size)
        self._tell(lambda: None if self._away_since else self._engine.want(slots))

    def _check_handler(self, path: str) -> None:
        """Ask a node for a handler; raise HandlerUnavailable if it has none, or does not answer."""
        asked: SimpleQueue[Future[str]] = SimpleQueue()
        text = check_text(path)
        self._tell(lambda: asked.put(self._engine.submit(text, question_key(), {})))
        take_answer(self._engine, path, asked)

    def close(self) -> None:
        """Cancel what is left, and disconnect."""
        self._closing = True
        self._bell.put(None)
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def _tell(self, command: Command) -> None:
        self._commands.append(command)
        self._bell.put(None)

    # The thread of the engine

    def _run(self) -> None:
        while not self._closing:
            with suppress(Empty):
                self._bell.get(timeout=_LOOK_SECONDS)
            while not self._bell.empty():
                self._bell.get()
            try:
                self._turn()
            except PgflowError as error:
                self._lose_engine(error.message)
            except Exception:
                log.exception("the engine %s", self._engine.name, extra={"action": "engine"})
                time.sleep(_LOOK_SECONDS)
        for flight in list(self._flights):
            with suppress(Exception):
                if flight.future is not None:
                    self._engine.cancel(flight.future, force=True)
        with suppress(Exception):
            self._engine.close()

    def _turn(self) -> None:
        while self._commands:
            self._commands.popleft()()
        while self._done:
            self._settle(self._done.popleft())
        if self._away_since:
            self._try_again()
            return
        now = time.monotonic()
        if now >= self._asked_at + _CAPACITY_SECONDS:
            self._measure()
        if now >= self._looked_at + _BEGUN_SECONDS:
            self._looked_at = now
            self._look()
        self._feed()

    def _measure(self) -> None:
        """Ask for the slots; once there are some, ask a node for its versions."""
        self._asked_at = time.monotonic()
        slots = self._engine.capacity().slots
        capacity = self._pool.size if slots is None else slots
        if capacity and not self._is_ready:
            welcome(self._engine)
            self._is_ready = True
        if capacity != self._capacity:
            self._capacity = capacity
            self._pool.changed()

    def _look(self) -> None:
        """Start the clocks of calls that have begun; take back those that do not begin or end."""
        waiting = {f.future: f for f in self._flights if not f.begun and f.future is not None}
        for future in self._engine.begun(waiting) if waiting else ():
            waiting[future].begin()
        late = time.monotonic() - QUEUE_SECONDS
        for flight in list(self._flights):
            if flight.is_late():
                self._cancel_flight(flight)
                self._go_apart(flight)
            elif not flight.begun and flight.submitted < late and not flight.cancelled:
                log.warning(
                    "the engine %s has not begun a task within %g s: it is given back",
                    self._engine.name,
                    QUEUE_SECONDS,
                    extra=flight.tasks[0].fields("released"),
                )
                self._cancel_flight(flight)
                self._end(flight, RELEASED)

    # Submission

    def _feed(self) -> None:
        """Submit what the engine can begin, and as much as it would begin in one round trip."""
        while self._queue or self._apart:
            if self._apart and not self._engine.isolates:
                if self._flights:
                    return
            elif len(self._flights) >= self.slots() + self._ahead() + len(self._stuck):
                return
            flight = self._next()
            if flight is None:
                continue
            self._submit(flight)
            if flight.alone and not self._engine.isolates:
                return

    def _ahead(self) -> int:
        """Return the number of calls to submit before a slot is free for them."""
        if not self._queue:
            return 0
        seconds = self._queue[0].call.seconds
        if seconds is None or self._apart:
            return 0
        return min(self._capacity, round(self._capacity * self._round_trip / max(seconds, 0.005)))

    def _next(self) -> Flight | None:
        if self._apart:
            task = self._apart.popleft()
            # It has kept its slot, unless it was given up meanwhile.
            return Flight([task], alone=True) if task in self._pool.running else None
        try:
            tasks = bundle(self._queue)
        except IndexError:  # withdrawn just now
            return None
        for task in tasks:
            if task.cancelled:
                self._pool.hand_in(task, RELEASED)
        tasks = [task for task in tasks if not task.cancelled]
        return Flight(tasks) if tasks else None

    def _submit(self, flight: Flight) -> None:
        tasks = flight.tasks
        for task in tasks:
            self._pool.hold(task, self)
            self._of_task[task] = flight
        first = tasks[0].call
        try:
            with_input = first.handler in self._wants_input
            text = call_text(tasks, with_input=with_input, results=self._results)
            future = self._engine.submit(text, call_key(tasks), first.resources)
        except EngineAway:
            self._end(flight, RELEASED)
            raise
        except Exception as error:  # noqa: BLE001 (no task may get lost)
            self._end(flight, failure(error, began=flight.submitted))
            return
        flight.future = future
        self._flights.add(flight)
        future.add_done_callback(lambda _: self._ring(flight))

    def _ring(self, flight: Flight) -> None:
        self._done.append(flight)
        self._bell.put(None)

    # Replies and losses

    def _settle(self, flight: Flight) -> None:
        """Report the outcomes of a call that has ended, however it has."""
        self._stuck.discard(flight)
        if flight not in self._flights or flight.future is None:
            return
        self._flights.discard(flight)
        try:
            answers = replies(flight.future.result())
        except BaseException as error:  # noqa: BLE001 (an engine may raise anything)
            self._lost(flight, self._engine.explain(error))
            return
        ran = sum(answer.get("elapsed", 0.0) for answer in answers)
        trip = time.monotonic() - flight.submitted - ran
        self._round_trip += (min(trip, 1.0) - self._round_trip) * 0.1
        for task, answer in zip(flight.tasks, answers, strict=True):
            del self._of_task[task]
            if answer["kind"] == "wants_input":
                self._wants_input.add(task.call.handler)
                self._return(task)
            else:
                land(self._pool, task, answer)

    def _lost(self, flight: Flight, loss: Loss) -> None:
        if flight.cancelled or loss.kind == "released":
            self._end(flight, RELEASED)
        elif loss.kind == "away":
            flight.lost_at = time.monotonic()
            self._flights.add(flight)
            self._lose_engine(loss.message)
        elif flight.tasks[1:] or not (flight.alone or self._engine.isolates):
            self._go_apart(flight)
        else:
            log.warning(
                "an attempt was lost: %s", loss.message, extra=flight.tasks[0].fields("crashed")
            )
            self._end(flight, _crashed(loss.message, flight))

    def _go_apart(self, flight: Flight) -> None:
        """Let the tasks of a lost call go out again one by one: one of them may have killed it."""
        self._flights.discard(flight)
        for task in flight.tasks:
            if self._of_task.pop(task, None) is not None and task in self._pool.running:
                task.wait()
                self._apart.append(task)

    def _return(self, task: Task) -> None:
        """Queue a task again that has not been called."""
        if self._pool.let_go(task):
            task.wait()
            self._queue.appendleft(task)

    def _end(self, flight: Flight, outcome: Outcome) -> None:
        self._flights.discard(flight)
        for task in flight.tasks:
            if self._of_task.pop(task, None) is not None:
                self._pool.finish(task, RELEASED if task.cancelled else outcome)

    def _take_back(self, task: Task, *, force: bool) -> None:
        if task in self._apart:
            self._apart.remove(task)
            self._pool.finish(task, RELEASED)
            return
        flight = self._of_task.get(task)
        # The others of a bundle go on: it ends within milliseconds, or is late and split.
        if flight is None or flight.tasks[1:]:
            return
        self._cancel_flight(flight, force=force)

    def _cancel_flight(self, flight: Flight, *, force: bool = True) -> None:
        if flight.future is None:
            return
        flight.cancelled = flight.cancelled or force
        if self._engine.cancel(flight.future, force=force):
            flight.cancelled = True
        elif force and not flight.future.done():
            self._stuck.add(flight)

    # An engine that went away

    def _lose_engine(self, reason: str) -> None:
        """Claim nothing more, and give back what has not begun, once."""
        now = time.monotonic()
        if not self._away_since:
            self._away_since = now
            self._remind_at = now + _REMIND_SECONDS
            self._reconnect_at = now + random.uniform(0, _FIRST_PAUSE)  # noqa: S311 (jitter)
            self._pause = _FIRST_PAUSE
            log.warning(
                "the engine %s is away: %s; this worker claims nothing until it is back",
                self._engine.name,
                reason,
                extra={"action": "engine"},
            )
            self._pool.changed()
        for task in self.withdraw(len(self._queue)):
            self._pool.hand_in(task, RELEASED)
        for flight in self._flights:
            flight.lost_at = flight.lost_at or now
            if not flight.begun:  # as far as we know: it may have begun just now
                flight.begin()

    def _try_again(self) -> None:
        now = time.monotonic()
        for flight in list(self._flights):
            if flight.lost_at and now > flight.lost_at + self._lease:
                self._end(flight, _crashed(f"the engine {self._engine.name} went away", flight))
        if now >= self._remind_at:
            self._remind_at = now + _REMIND_SECONDS
            log.warning("the engine %s is still away", self._engine.name)
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
        self._away_since = 0.0
        log.info("the engine %s is back", self._engine.name, extra={"action": "engine"})
        for flight in list(self._flights):  # never a result under a future of before
            self._end(flight, _crashed(f"the engine {self._engine.name} was restarted", flight))
        self._stuck.clear()
        self._pool.changed()


def _crashed(message: str, flight: Flight) -> Outcome:
    record: dict[str, Json] = {"type": "Crashed", "message": message}
    return Outcome("crashed", error=record, began=flight.begun or flight.submitted)
