"""The worker's loop: each turn reports results and claims tasks in one commit (engine.md §4)."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from pgflow_yaml.database.store import (
    LONGEST_LEASE,
    MOST_CHARACTERS,
    Attempts,
    Links,
    Outage,
    Refused,
    Store,
)
from pgflow_yaml.errors import PgflowError
from pgflow_yaml.runs.logs import LOGS
from pgflow_yaml.worker.calls import Handlers, Secrets
from pgflow_yaml.worker.executors import Pool, default_concurrency, executors_of
from pgflow_yaml.worker.facts import process_facts
from pgflow_yaml.worker.failpoints import failpoint
from pgflow_yaml.worker.health import Checkup, Health
from pgflow_yaml.worker.leases import Heartbeat, Leases
from pgflow_yaml.worker.listener import listener_of
from pgflow_yaml.worker.logs import Logs, SendLogs, catch_logging
from pgflow_yaml.worker.logs.duty import SEND_SECONDS
from pgflow_yaml.worker.lost_replies import LostReplies
from pgflow_yaml.worker.missing import MissingHandlers
from pgflow_yaml.worker.pace import Pace
from pgflow_yaml.worker.pruning import Pruning
from pgflow_yaml.worker.schedules import Schedules
from pgflow_yaml.worker.stop import Closed, Stop
from pgflow_yaml.worker.streams import handler_streams, take_record
from pgflow_yaml.worker.task import RELEASED, Sources
from pgflow_yaml.worker.timers import LONGEST_SECONDS, TimerErrors, Timers
from pgflow_yaml.worker.transactions import Transactions
from pgflow_yaml.worker.turn import TurnClient
from pgflow_yaml.worker.upkeep import Upkeep
from pgflow_yaml.worker.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgflow_yaml.runs.approval_links import Approval
    from pgflow_yaml.worker.calls import SecretProvider
    from pgflow_yaml.worker.executors.pool import ExecutorFactory
    from pgflow_yaml.worker.listener import HeardThread
    from pgflow_yaml.worker.metrics.measures import Measures
    from pgflow_yaml.worker.task import Task
    from pgflow_yaml.worker.tracing import Tracing
    from pgflow_yaml.worker.upkeep import Duty

log = logging.getLogger(__name__)

LEADS = ("step", "run", "none")
_LAST_TRY_SECONDS = 2.0  # for results that the database could not settle before
_TRANSIT_SECONDS = 0.5  # more than a task needs to change from one thread to another


class Worker:
    """Run the tasks of flows until told to stop."""

    measures: Measures | None = None
    _tracing: Tracing | None = None

    def __init__(  # noqa: PLR0913 (the settings of a worker)
        self,
        conninfo: str,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int | None = None,
        app_dir: Path | None = None,
        allow: Sequence[str] = (),
        handlers: Sequence[str] = (),
        lease_seconds: float = 30.0,
        poll_interval_ms: float = 50,
        max_poll_seconds: float = 1.0,
        burst: bool = False,
        grace_seconds: float = 30.0,
        notify: bool = True,
        secrets: str | Path | SecretProvider | None = None,
        on_lost: Callable[[], None] | None = None,
        executor: str | ExecutorFactory = "thread",
        prepare: Callable[[Attempts], object] | None = None,
        logs: str = "both",
        lead: str = "step",
        capture: bool = False,
        metrics: bool = False,
        otel: bool = False,
        approval_link: Callable[[Approval], str] | None = None,
        resources: Mapping[str, float] | None = None,
        wake_from: str | int | None = None,
    ) -> None:
        """`queues` are names of flows, None is all; `burst` ends when no task is left.

        With `handlers`, only dotted paths below these are called. With `notify`, clients wake the
        worker when it is idle; it polls as well. It hears them at `wake_from`: another address of
        the database, or a descriptor where a byte wakes it. `concurrency` is 8 unless it is given,
        or as much as an engine has. `secrets` is a folder with a file for each, a file of
        `NAME=value` lines, or a function from a name to its value or None; one is looked up in
        PGFLOW_YAML_SECRET_NAME. `executor` is a key of EXECUTORS, or made by `in_processes` or
        InEngine; `resources` are offered to steps that need some. `prepare` is called before the
        worker registers. With `metrics`, it measures what it does; see MetricsServer. With `otel`,
        it sends spans; `approval_link` serves `ctx.approval_url`.

        What handlers print and log goes to the database, to the streams of this process (`logs` is
        "database" or "worker"), or to both; there a printed line begins with `lead`: "step", "run"
        (and the step), or "none". Prints are caught only with `capture`, or where a caller has
        caught the streams: it replaces stdout and stderr of this process while the worker runs.
        """
        concurrency = default_concurrency(executor) if concurrency is None else concurrency
        if concurrency < 1 or not 1 <= lease_seconds <= LONGEST_LEASE:
            raise ValueError(
                "a worker needs a concurrency of at least 1 and a lease from 1 second to 1 day"
            )
        if logs not in LOGS or lead not in LEADS:
            raise ValueError(f"logs is one of {', '.join(LOGS)}, lead one of {', '.join(LEADS)}")
        self.id = str(uuid4())
        self.gave_up = ""  # why it ended without being told to stop
        self._burst = burst
        self._queues = queues
        self._prepare = prepare
        self._outage = Outage()
        self._leases = Leases(self.id, lease_seconds)
        self._stop = Stop(grace_seconds, lambda: not self._leases.held)
        store = partial(Store, conninfo, on_lost=on_lost, outage=self._outage)
        self._store = store(name=_name("worker"), patience=None, pause=self._pause_loop)
        # Of large inputs; shared, so that an idle worker has no more of them.
        self._reader = store(name=_name("upkeep"), pause=self._pause_upkeep)
        timer_errors = TimerErrors()
        self._schedules = Schedules(lambda: self._upkeep.set_due(self._schedules, 0.0))
        self._timers = Timers(self.id, timer_errors, self._schedules)
        self._logs = Logs(stores=logs != "worker", shows=logs != "database", lead=lead)
        self._send_logs = SendLogs(self.id, self._logs)
        self._logs.on_first = self._send_logs_soon
        self._capture = capture
        self._handlers = Handlers(app_dir or Path.cwd(), allow, handlers)
        self._pool = Pool(
            concurrency,
            self._handlers,
            executors_of(executor),
            beat=self._beat,
            logs=self._logs,
            transactions=Transactions(self.id, Links(conninfo)),
            resources=resources,
        )
        heartbeats = store(name=_name("heartbeat"), patience=None, pause=self._pause_heartbeat)
        self.health = Health(lease_seconds, self._stop, self._outage, (self._store, heartbeats))
        exports = self._exports(metrics=metrics, otel=otel)
        self._upkeep = Upkeep(
            self._reader,
            [self._schedules, self._timers, self._send_logs, Pruning(self.id), *exports],
        )
        self._heartbeat = Heartbeat(
            heartbeats,
            self._leases,
            self._pool,
            lease=lease_seconds,
            pulse=self.health.heartbeat,
            ring=self._pool.results.ring,
        )
        self._listener = (
            listener_of(wake_from, conninfo, self._wake_up, self._outage)
            if notify and not burst
            else None
        )
        self._woken = False
        self._pace = Pace(
            slots=concurrency,
            lease=lease_seconds,
            poll=poll_interval_ms / 1000,
            longest_poll=max_poll_seconds,
        )
        self._turns = TurnClient(
            self.id,
            self._store,
            self._leases,
            MissingHandlers(self._handlers, self._pool.offer),
            lease=lease_seconds,
            sources=Sources(
                run_input=self._reader.run_input,
                secret=Secrets(secrets).get,
                span=None if self._tracing is None else self._tracing.attempt,
                approval_link=approval_link,
            ),
            register=self._register,
            timer_errors=timer_errors,
            schedules=self._schedules,
            logs=self._logs,
        )
        self._turns.measures = self.measures
        self._lost_replies = LostReplies(self.id, self._store, self._leases, lease_seconds)
        self._pending: list[Task] = []
        self._next_poll = 0.0
        self._exit_code = 0

    def stop(self, *, now: bool = False) -> None:
        """Claim no new tasks, and end when the running ones have; `now`: give them back at once.

        Safe in a signal handler: it takes no lock that the interrupted code may hold.
        """
        self._stop.ask(now=now)
        self._pool.results.ring()

    def is_overdue(self) -> bool:
        """Return True four seconds after it should have ended."""
        return self._stop.is_overdue()

    def run(self) -> int:
        """Work until stopped; return 0 after a clean stop, 1 if tasks had to be given up."""
        catch_logging(take_record)
        if self._capture:
            with handler_streams():
                return self._run()
        return self._run()

    def _run(self) -> int:
        watch = Watch(self._pool, self._leases, self._check)
        threads: list[Heartbeat | Upkeep | HeardThread] = [self._heartbeat, self._upkeep]
        if self._listener is not None:
            threads.append(self._listener)
        self._store.on_reconnect = self._keep_leases
        watch.start()
        try:
            self._pool.open()
            if self._prepare is not None:
                self._prepare(Attempts(None, pause=self._pause_loop, outage=self._outage))
            self._register()
            log.info("worker started", extra={"action": "start", "worker": self.id})
            for thread in threads:
                thread.start()
            while self._goes_on():
                self._step()
            with suppress(Refused):
                self._store.stop_worker(self.id)
        except Closed:
            log.warning("stopped without the database", extra={"action": "stop"})
        finally:
            for thread in threads:
                if thread.is_alive():
                    thread.close()
            watch.close()
            self._pool.close()
            with suppress(PgflowError, Closed):  # the last lines of what was given up
                self._send_logs.flush(self._reader)
            if self._tracing is not None:
                self._tracing.send_last(self._store, is_away=self._outage.ongoing)
            self._store.close()
            self._reader.close()
        log.info("worker stopped", extra={"action": "stop", "worker": self.id})
        return 1 if self._stop.forced else self._exit_code

    def _register(self) -> None:
        self._pool.has_changed = False
        facts = process_facts(metrics=self.measures is not None) | self._pool.facts()
        if seconds := self._turns.starts.seconds:
            facts["slack_ms"] = round(seconds * 1000)
        self._store.register_worker(self.id, self._queues, facts)

    def _exports(self, *, metrics: bool, otel: bool) -> list[Duty]:
        """Begin to measure and to trace, if asked to; return the duties of that."""
        duties = self._pool.duties(self._queues)
        if metrics:
            from pgflow_yaml.worker.metrics.gauges import Gauges
            from pgflow_yaml.worker.metrics.measures import Measures

            self.measures = Measures(self._pool, self._logs)
            duties += [
                Checkup(self.health, self._outage, self._store.conninfo, self._pause_upkeep),
                Gauges(self.id, self.measures.registry),
            ]
        if otel:
            from pgflow_yaml.worker.tracing import Tracing

            self._tracing = Tracing(self.id)
            duties.append(self._tracing)
        return duties

    def _step(self) -> None:
        """Take a turn if results are there or tasks can be claimed, else wait."""
        self.health.loop.beat()
        if self._pool.has_changed:
            self._register()
        if self._woken:
            self._woken = False
            self._next_poll = 0.0
            self._pace.woken()
            self._turns.queues.list_soon()
        self._heartbeat.beat_here(self._store)
        self._lost_replies.give_back()
        self._turns.retry_parked()
        self._pending += self._turns.retry_held()
        results = self._next_results()
        room = self._room(results)
        due = room > 0 and time.monotonic() >= self._next_poll
        if results or due:
            self._turn(results, room)
        else:
            self._wait(room)

    def _turn(self, results: list[Task], room: int) -> None:
        began = time.monotonic()
        self._turns.queues.rotate(self._queues)
        if results:
            failpoint("before_commit")
        tasks = self._turns.turn(results, room)
        now = time.monotonic()
        if results:
            failpoint("after_commit")
        self._pace.saw_turn(now - began)
        if self.measures is not None:
            self.measures.saw_turn(now - began, len(tasks))
        self._pool.patience = self._pace.patience()
        if tasks:
            failpoint("after_claim")
            self._heartbeat.saw_claim()
            self._pool.submit(tasks)
        worked = bool(results or tasks or self._turns.ran_timers or self._turns.is_searching)
        is_full = 0 < room <= len(tasks)
        self._pace.saw_claim(len(tasks), hears=self._listener is not None and self._listener.hears)
        pause = 0.0 if is_full else self._pace.next_poll(worked=worked, due_ms=self._turns.due_ms)
        self._next_poll = now + pause
        if room:
            self._upkeep.set_due(self._timers, self._next_poll + LONGEST_SECONDS)
        if self._burst and not worked and room and not self._turns.unsettled():
            self.stop()

    def _next_results(self) -> list[Task]:
        """Return the finished tasks, as many as one statement should carry."""
        self._pending.extend(self._pool.results.take())
        count = size = 0
        for task in self._pending:
            size += len(task.outcome.output) if task.outcome else 0
            if count and size > MOST_CHARACTERS:
                break
            count += 1
        results, self._pending = self._pending[:count], self._pending[count:]
        return results

    def _room(self, results: list[Task]) -> int:
        if self._stop.leave_by is not None:
            return 0
        self._pool.learn(results)
        rate = self._pool.rate(results)
        left = self._turns.unsettled() - len(results)
        alone = self._turns.alone
        if left and (alone.is_running() or alone.is_due()):
            return 0
        self._pace.slots = self._pool.slots()
        if not self._pace.slots:  # its engine is away
            return 0
        return self._pace.room(left - len(self._pool.slotless), rate=rate)

    def _wait(self, room: int) -> None:
        """Sleep until a task has finished or the next poll is due."""
        until = self._next_poll - time.monotonic() if room else 1.0
        until = min(until, self._turns.next_retry() - time.monotonic())
        until = until if self._stop.leave_by is None else min(until, 0.1)
        self.health.loop.beat(until)
        self._pool.results.wait(1, until)
        if self._pool.results and self._pool.queued():
            self._pool.results.wait(self._pace.batch(len(self._leases.held)), self._pace.linger())

    def _wake_up(self) -> None:
        """Cut the idle pause short; another thread calls this."""
        self._woken = True
        self._pool.results.ring()

    # Stopping

    def _goes_on(self) -> bool:
        """Return False when all is done; release what a stopping worker gives back."""
        if self._stop.leave_by is None and (steps := self._pool.deaf_steps()):
            self._exit_code = 1
            names = ", ".join(f'"{step}"' for step in steps)
            self.gave_up = (
                "as many handlers as --concurrency ignore their timeout, the last in step " + names
            )
            log.error(
                "%s; this worker ends so that a new one can take over",
                self.gave_up,
                extra={"action": "stop"},
            )
            self.stop()
        if self._stop.leave_by is None:
            return True
        failpoint("drain")
        self._pool.release(self._pool.queued())
        late = time.monotonic() - self._stop.leave_by
        if late >= 0:
            for task in [*self._pool.running, *self._pool.slotless]:
                self._pool.give_up(task, RELEASED)
        if late > _TRANSIT_SECONDS:
            self._give_back_the_rest()
        return bool(self._turns.unsettled() if late > _LAST_TRY_SECONDS else self._leases.held)

    def _give_back_the_rest(self) -> None:
        """Release tasks that no executor holds: no lost task may keep a worker alive."""
        for task in list(self._leases.held.values()):
            if task.outcome is None:
                log.error("task was lost in this worker", extra=task.fields("released"))
                task.outcome = RELEASED
                self._pending.append(task)

    def _keep_leases(self) -> None:
        """Extend the leases first on a new connection: no other worker may claim them (§4.2)."""
        if self.measures is not None:
            self.measures.saw_reconnect()
        self._lost_replies.suspect()
        try:
            self._leases.beat(self._store, self._pool)
        except Refused as error:
            log.error("heartbeat failed: %s", error, extra={"action": "heartbeat"})  # noqa: TRY400

    def _check(self) -> None:
        self._stop.cut(self._store)
        self._leases.check(self._pool)

    def _beat(self) -> None:
        self._heartbeat.ask()

    def _pause_loop(self, seconds: float) -> None:
        self.health.loop.beat(seconds)
        self._stop.pause(seconds)

    def _pause_heartbeat(self, seconds: float) -> None:
        self.health.heartbeat.beat(seconds)
        self._heartbeat.pause(seconds)

    def _send_logs_soon(self) -> None:
        self._upkeep.set_due(self._send_logs, time.monotonic() + SEND_SECONDS)

    def _pause_upkeep(self, seconds: float) -> None:
        self._upkeep.pause(seconds)


def _name(part: str) -> str:
    """Return the name of a connection, for pg_stat_activity."""
    return f"pgflow-yaml {part} {os.getpid()}"
