"""The calls of a worker in an engine, from their submission to the outcomes of their tasks.

The thread of the engine alone uses it, except `landed`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from pgflow_yaml.worker.attempt import failure
from pgflow_yaml.worker.engines.engine import EngineAway
from pgflow_yaml.worker.engines.envelope import call_key, call_text, replies
from pgflow_yaml.worker.engines.flight import Flight, bundle
from pgflow_yaml.worker.engines.landing import land
from pgflow_yaml.worker.task import RELEASED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.engines.engine import Engine, Loss
    from pgflow_yaml.worker.executors.executor import Executor
    from pgflow_yaml.worker.executors.pool import Pool
    from pgflow_yaml.worker.task import Task

log = logging.getLogger(__name__)

QUEUE_SECONDS = 900.0
"""A call that has not begun by then is taken back: the engine does not start tasks."""
_LONGEST_TRIP = 1.0


class Traffic:
    """The calls in the engine, and the tasks that must go alone."""

    def __init__(
        self,
        pool: Pool,
        engine: Engine,
        executor: Executor,
        queue: deque[Task],
        *,
        results: str | None,
        ring: Callable[[], None],
    ) -> None:
        """`ring` wakes the thread of the engine; the `queue` is that of the `executor`."""
        self._pool = pool
        self._engine = engine
        self._executor = executor
        self._queue = queue
        self._results = results
        self._ring = ring
        self.flights: set[Flight] = set()
        self.stuck: set[Flight] = set()
        """Calls that were given up, and are still busy for all we know."""
        self.apart: deque[Task] = deque()
        """Tasks that were lost with others: each goes out again alone, and has its slot already."""
        self._of_task: dict[Task, Flight] = {}
        self._done: deque[Flight] = deque()
        self._wants_input: set[str] = set()
        self._round_trip = 0.0

    # Submission

    def feed(self, slots: int) -> None:
        """Submit what the engine can begin, and as much as it would begin in one round trip."""
        while self._queue or self.apart:
            if self.apart and not self._engine.isolates:
                if self.flights:  # a task that goes alone must not take others along
                    return
            elif len(self.flights) >= slots + len(self.stuck) + self._ahead(slots):
                return
            flight = self._next()
            if flight is not None:
                self._submit(flight)

    def _ahead(self, slots: int) -> int:
        """Return the number of calls to submit before a slot is free for them."""
        try:
            seconds = self._queue[0].call.seconds
        except IndexError:  # withdrawn just now
            return 0
        if seconds is None or self.apart:
            return 0
        return min(slots, round(slots * self._round_trip / max(seconds, 0.005)))

    def _next(self) -> Flight | None:
        if self.apart:
            task = self.apart.popleft()
            is_here = task in self._pool.running  # else it was given up meanwhile
            return Flight([task], alone=True) if is_here else None
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
        tasks, call = flight.tasks, flight.tasks[0].call
        for task in tasks:
            self._pool.hold(task, self._executor)
            self._of_task[task] = flight
        try:
            with_input = call.handler in self._wants_input
            text = call_text(tasks, with_input=with_input, results=self._results)
            future = self._engine.submit(text, call_key(tasks), call.resources)
        except EngineAway:
            self.end(flight, RELEASED)
            raise
        except Exception as error:  # noqa: BLE001 (no task may get lost)
            self.end(flight, failure(error, began=flight.submitted))
            return
        flight.future = future
        self.flights.add(flight)
        future.add_done_callback(lambda _: self.landed(flight))

    def landed(self, flight: Flight) -> None:
        """Remember that a call has ended; any thread calls this (X-7)."""
        self._done.append(flight)
        self._ring()

    # Replies and losses

    def settle(self) -> None:
        """Report the outcomes of the calls that have ended; raise EngineAway if that lost them."""
        while self._done:
            flight = self._done.popleft()
            self.stuck.discard(flight)
            if flight in self.flights:
                self._settle(flight)

    def _settle(self, flight: Flight) -> None:
        assert flight.future is not None
        try:
            answers = replies(flight.future.result())
        except BaseException as error:  # noqa: BLE001 (an engine may raise anything)
            self._lost(flight, self._engine.explain(error))
            return
        self.flights.discard(flight)
        ran = sum(answer.get("elapsed", 0.0) for answer in answers)
        trip = min(time.monotonic() - flight.submitted - ran, _LONGEST_TRIP)
        self._round_trip += (trip - self._round_trip) * 0.1
        for task, answer in zip(flight.tasks, answers, strict=True):
            del self._of_task[task]
            if answer["kind"] == "wants_input":
                self._wants_input.add(task.call.handler)
                if self._pool.let_go(task):
                    task.wait()
                    self._queue.appendleft(task)
            else:
                land(self._pool, task, answer)

    def _lost(self, flight: Flight, loss: Loss) -> None:
        if flight.cancelled or loss.kind == "released":
            self.end(flight, RELEASED)
        elif loss.kind == "away":  # its tasks are still waited for
            raise EngineAway(loss.message)
        elif flight.tasks[1:] or not (flight.alone or self._engine.isolates):
            self._split(flight)
        else:
            fields = flight.tasks[0].fields("crashed")
            log.warning("an attempt was lost: %s", loss.message, extra=fields)
            self.crash(flight, loss.message)

    def _split(self, flight: Flight) -> None:
        """Let the tasks of a lost call go out again one by one: one of them may have killed it."""
        self.flights.discard(flight)
        for task in flight.tasks:
            if self._of_task.pop(task, None) is not None and task in self._pool.running:
                task.wait()
                self.apart.append(task)

    def crash(self, flight: Flight, message: str) -> None:
        """Report that the process or the node of a call has died."""
        record: dict[str, Json] = {"type": "Crashed", "message": message}
        began = flight.begun or flight.submitted
        self.end(flight, Outcome("crashed", error=record, began=began))

    def end(self, flight: Flight, outcome: Outcome) -> None:
        """Report one outcome for all tasks of a call."""
        self.flights.discard(flight)
        for task in flight.tasks:
            if self._of_task.pop(task, None) is not None:
                self._pool.finish(task, RELEASED if task.cancelled else outcome)

    # Time, and cancels

    def look(self) -> None:
        """Start the clocks of calls that have begun; take back those that do not begin or end."""
        waiting = {f.future: f for f in self.flights if not f.begun and f.future is not None}
        for future in self._engine.begun(waiting) if waiting else ():
            waiting[future].begin()
        late = time.monotonic() - QUEUE_SECONDS
        for flight in list(self.flights):
            if flight.is_late():
                self.cancel(flight, force=True)
                self._split(flight)
            elif not flight.begun and flight.submitted < late and not flight.cancelled:
                log.warning(
                    "the engine %s has not begun a task within %g s: it is given back",
                    self._engine.name,
                    QUEUE_SECONDS,
                    extra=flight.tasks[0].fields("released"),
                )
                self.cancel(flight, force=True)
                self.end(flight, RELEASED)

    def take_back(self, task: Task, *, force: bool) -> None:
        """Cancel the call of a task that waits, and with `force` one that runs."""
        if task in self.apart:
            self.apart.remove(task)
            self._pool.finish(task, RELEASED)
            return
        flight = self._of_task.get(task)
        # The others of a bundle go on: it ends within milliseconds, or is late and split.
        if flight is not None and not flight.tasks[1:]:
            self.cancel(flight, force=force)

    def cancel(self, flight: Flight, *, force: bool) -> None:
        """Cancel a call; count its slot as busy if the engine cannot free it."""
        if flight.future is None:
            return
        flight.cancelled = flight.cancelled or force
        if self._engine.cancel(flight.future, force=force):
            flight.cancelled = True
        elif force and not flight.future.done():
            self.stuck.add(flight)

    # An engine that goes away

    def strand(self) -> None:
        """Begin to wait for the calls of an engine that has gone: any may have begun just now."""
        now = time.monotonic()
        for flight in self.flights:
            flight.lost_at = flight.lost_at or now

    def crash_stranded(self, since: float, message: str) -> None:
        """Give up the calls that an engine took along before this moment."""
        for flight in list(self.flights):
            if 0 < flight.lost_at < since:
                self.crash(flight, message)
