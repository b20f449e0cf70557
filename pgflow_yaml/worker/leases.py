"""The leases of a worker's tasks, kept on a connection that no busy handler can starve (R-2)."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING

from pgflow_yaml.database.store import Refused
from pgflow_yaml.errors import PgflowError
from pgflow_yaml.worker.failpoints import failpoint
from pgflow_yaml.worker.stop import Closed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.executors import Pool
    from pgflow_yaml.worker.health import Pulse
    from pgflow_yaml.worker.task import Key, Task

log = logging.getLogger(__name__)

SWEEP_SECONDS = 30.0
_LEAST_BETWEEN, _MOST_BETWEEN = 1.0, 20.0
_UNUSED_SECONDS = 60.0


class Leases:
    """The tasks that this worker holds, and the heartbeat that keeps them."""

    def __init__(self, worker: str, lease: float) -> None:
        self.held: dict[Key, Task] = {}
        self._worker = worker
        self.seconds = lease
        self._heard = time.monotonic()

    def beat(self, store: Store, pool: Pool) -> None:
        """Extend all leases, and cancel the handlers of tasks that this worker has lost."""
        # Another thread changes the dict; `list` copies it in one step.
        tasks = list(self.held.values())
        began = time.monotonic()
        reply = self._ask(store, [task.lease() for task in tasks])
        self._heard = began
        self._cancel(reply["lost"], "lost to another worker", pool)
        self._cancel(reply["stop"], "stopped: its run or step has ended", pool)

    def _ask(self, store: Store, tasks: Sequence[Mapping[str, Json]]) -> dict[str, list[Any]]:
        """Extend leases; one task whose row is bad must not cost the others theirs."""
        try:
            return store.heartbeat(self._worker, self.seconds, tasks)
        except Refused as error:
            if not error.is_content or not tasks[1:]:
                raise
        half = len(tasks) // 2
        both: dict[str, list[Any]] = {"lost": [], "stop": []}
        for part in (tasks[:half], tasks[half:]):
            try:
                reply = self._ask(store, part)
            except Refused as error:
                log.error("a lease cannot be extended: %s", error, extra={"action": "heartbeat"})  # noqa: TRY400
                continue
            both = {key: both[key] + reply[key] for key in both}
        return both

    def check(self, pool: Pool) -> None:
        """Cancel the handlers of tasks whose lease has run out without an answer (R-2)."""
        now = time.monotonic()
        # A little later: a process that was stopped for long first asks what it still owns.
        oldest = now - self.seconds - min(1.0, self.seconds / 4)
        if self._heard >= oldest:
            return
        tasks = [
            task
            for task in list(self.held.values())
            if task.received < oldest and not task.has_ended and not task.cancelled
        ]
        if not tasks:
            return
        log.warning(
            "no answer of the database for a lease of %g s: handlers are told to stop: %d",
            self.seconds,
            len(tasks),
            extra={"action": "cancel"},
        )
        for task in tasks:
            pool.cancel(task)

    def _cancel(self, references: Iterable[Mapping[str, object]], reason: str, pool: Pool) -> None:
        for reference in references:
            key = (str(reference["run"]), str(reference["step"]), int(str(reference["index"])))
            task = self.held.get(key)
            # Settled meanwhile, or claimed anew: then the answer is out of date.
            if task is None or task.has_ended or task.fence != reference["attempt"]:
                continue
            if not task.cancelled:
                log.warning("attempt %s", reason, extra=task.fields("cancel"))
                pool.cancel(task)


class Heartbeat(threading.Thread):
    """Beat every third of the lease and sweep every 30 s (R-3), until closed.

    With a long lease it beats more often, since a worker counts as alive for a minute after a beat.

    Its connection is opened with the first claim. Once nothing has been held for a minute it is
    closed: the thread rests, and leaves the beats, which now say only that the worker is there, to
    the worker's own thread.
    """

    def __init__(
        self,
        store: Store,
        leases: Leases,
        pool: Pool,
        *,
        lease: float,
        pulse: Pulse,
        ring: Callable[[], None],
    ) -> None:
        """`ring` makes the worker's own thread call `beat_here`."""
        super().__init__(name="pgflow-heartbeat", daemon=True)
        self._pulse = pulse
        self._store = store
        self._leases = leases
        self._pool = pool
        self._lease = lease
        self._every = min(lease / 3, _MOST_BETWEEN)
        self._asked = threading.Event()
        self._closing = threading.Event()
        self._ring = ring
        self._last = self._held_at = time.monotonic()
        self._swept = self._last + random.uniform(-0.5, 0) * SWEEP_SECONDS  # noqa: S311 (jitter)
        self._rests = True
        self._is_kept = self._is_left = False

    def saw_claim(self) -> None:
        """Beat at once if this thread rests; the caller's tasks are among the held ones already."""
        if self._rests:
            self._asked.set()

    def beat_here(self, store: Store) -> None:
        """Beat on this connection of the worker's own thread if the beat was left to it."""
        if self._is_left:
            self._is_left = False
            self._beat(store)

    def ask(self) -> None:
        """Beat now rather than at the next interval; once a second at most."""
        if time.monotonic() - self._last > _LEAST_BETWEEN:
            self._asked.set()

    def close(self) -> None:
        """End the thread; waits a moment, never for the database."""
        self._closing.set()
        self._asked.set()
        self._store.interrupt()
        self.join(1)

    def pause(self, seconds: float) -> None:
        """Wait between attempts to reach the database; raise Closed when the worker stops."""
        if not self._closing.is_set():
            self._asked.wait(seconds)
        if self._closing.is_set():
            raise Closed

    def _warn_of_standstill(self, late: float) -> None:
        """Name the steps that ran while no thread of this process did, for a lease or longer (F9).

        `late` are the seconds by which this thread woke up too late.
        """
        lease = self._lease
        if late < lease / 3 or time.monotonic() - self._last < lease:
            return
        steps = {task.step for task in list(self._leases.held.values()) if task.started}
        log.warning(
            "nothing moved in this process for %.3g s, longer than its lease of %g s: perhaps a "
            "handler held the GIL, of step %s; others may have taken its tasks over",
            late,
            lease,
            " or ".join(sorted(steps)) or "that has ended",
            extra={"action": "blocked"},
        )

    def run(self) -> None:
        """Beat until closed."""
        while not self._closing.is_set():
            every = _MOST_BETWEEN if self._rests else self._every
            due = max(time.monotonic(), self._last + every)
            self._pulse.beat(due - time.monotonic())
            self._asked.wait(due - time.monotonic())
            self._asked.clear()
            if self._closing.is_set():
                break
            late = time.monotonic() - due
            self._warn_of_standstill(late)
            rests = self._may_rest()
            if rests and late < 0:  # the task of the claim has ended already
                continue
            self._last = time.monotonic()
            try:
                if rests:
                    self._is_left = True
                    self._ring()
                else:
                    self._beat(self._store)
            except Closed:
                break
        self._store.close()

    def _may_rest(self) -> bool:
        """Return True if the connection is not needed now; close one that was not for long."""
        now = time.monotonic()
        self._rests = True  # before the look: who claims after it asks for a beat
        if self._leases.held:
            self._held_at, self._is_kept = now, True
        elif not self._is_kept or now - self._held_at > _UNUSED_SECONDS:
            self._is_kept = False
            self._store.close()
            return True
        self._rests = False
        return False

    def _beat(self, store: Store) -> None:
        try:
            failpoint("heartbeat")
            self._leases.beat(store, self._pool)
            now = time.monotonic()
            if now - self._swept > SWEEP_SECONDS:
                self._swept = now + random.uniform(-0.25, 0.25) * SWEEP_SECONDS  # noqa: S311 (jitter)
                failpoint("sweep")
                store.sweep()
        except PgflowError as error:
            log.error("heartbeat failed: %s", error, extra={"action": "heartbeat"})  # noqa: TRY400
