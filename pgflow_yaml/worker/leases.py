"""The leases of a worker's tasks, kept on a connection that no busy handler can starve (R-2)."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from typing import TYPE_CHECKING

from pgflow_yaml.database.store import Refused
from pgflow_yaml.errors import PgflowError
from pgflow_yaml.worker.failpoints import failpoint
from pgflow_yaml.worker.stop import Closed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.executors import Pool
    from pgflow_yaml.worker.health import Pulse
    from pgflow_yaml.worker.task import Key, Task

log = logging.getLogger(__name__)

SWEEP_SECONDS = 30.0
IDLE_SECONDS = 60.0
"""After so long without a task, beats go over the connection of the loop, which is free then."""
_LEAST_BETWEEN, _MOST_BETWEEN = 1.0, 20.0


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
    """

    def __init__(
        self, stores: tuple[Store, Store], leases: Leases, pool: Pool, *, lease: float, pulse: Pulse
    ) -> None:
        """`stores`: a connection of its own, and that of the loop, which serves an idle worker."""
        super().__init__(name="pgflow-heartbeat", daemon=True)
        self._pulse = pulse
        self._store, self._shared = stores
        self._held_at = -math.inf
        self._leases = leases
        self._pool = pool
        self._lease = lease
        self._every = min(lease / 3, _MOST_BETWEEN)
        self._asked = threading.Event()
        self._closing = threading.Event()
        self._last = time.monotonic()

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

    def _chosen(self, now: float) -> Store:
        """Return the connection for a beat: its own one, unless nothing was held for a minute."""
        if self._leases.held:
            self._held_at = now
        if now < self._held_at + IDLE_SECONDS:
            return self._store
        self._store.close()
        return self._shared

    def run(self) -> None:
        """Beat until closed."""
        swept = self._last + random.uniform(-0.5, 0) * SWEEP_SECONDS  # noqa: S311 (jitter)
        while not self._closing.is_set():
            due = max(time.monotonic(), self._last + self._every)
            self._pulse.beat(due - time.monotonic())
            self._asked.wait(due - time.monotonic())
            self._asked.clear()
            if self._closing.is_set():
                break
            self._warn_of_standstill(time.monotonic() - due)
            self._last = last = time.monotonic()
            try:
                failpoint("heartbeat")
                store = self._chosen(last)
                self._leases.beat(store, self._pool)
                if last - swept > SWEEP_SECONDS:
                    swept = last + random.uniform(-0.25, 0.25) * SWEEP_SECONDS  # noqa: S311 (jitter)
                    failpoint("sweep")
                    store.sweep()
            except Closed:
                break
            except PgflowError as error:
                log.error("heartbeat failed: %s", error, extra={"action": "heartbeat"})  # noqa: TRY400
        self._store.close()
