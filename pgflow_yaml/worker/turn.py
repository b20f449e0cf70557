"""A turn: report results, get verdicts and new tasks; one bad result does not stop the rest."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING

from pgflow_yaml.database.store import LOCK_TIMEOUT, Refused
from pgflow_yaml.errors import NotFound
from pgflow_yaml.worker import ends
from pgflow_yaml.worker.alone import Alone
from pgflow_yaml.worker.calls import clean
from pgflow_yaml.worker.held_runs import HeldRuns
from pgflow_yaml.worker.queues import Queues
from pgflow_yaml.worker.reply import unpack
from pgflow_yaml.worker.starts import Starts
from pgflow_yaml.worker.task import Outcome, StepCall
from pgflow_yaml.worker.verdicts import log_verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgflow_yaml.database.store import Store, TurnReply
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.leases import Leases
    from pgflow_yaml.worker.logs import Batch, Logs
    from pgflow_yaml.worker.metrics.measures import Measures
    from pgflow_yaml.worker.missing import MissingHandlers
    from pgflow_yaml.worker.schedules import Schedules
    from pgflow_yaml.worker.task import Sources, Task
    from pgflow_yaml.worker.timers import TimerErrors

log = logging.getLogger(__name__)

_WORKER_KEY = "step_tasks_last_worker_id_fkey"  # a claim by a worker that is not registered
_TRIES, _TRIES_APART = 5, 2
_APART_SECONDS = 10.0
_READABLE = 50  # tasks that a turn claims one by one
_BUSY, _PARKED = "busy", "parked"
_FIRST_PARKED_SECONDS, _LONGEST_PARKED_SECONDS = 1.0, 30.0


class TurnClient:
    """Call `turn` for one worker; one thread uses it."""

    def __init__(  # noqa: PLR0913 (the parts of a worker that a turn touches)
        self,
        worker: str,
        store: Store,
        leases: Leases,
        missing: MissingHandlers,
        *,
        lease: float,
        sources: Sources,
        timer_errors: TimerErrors,
        schedules: Schedules,
        logs: Logs,
        register: Callable[[], None] = lambda: None,
    ) -> None:
        self._worker = worker
        self._store = store
        self._leases = leases
        self._lease = lease
        self._sources = sources
        self._timer_errors = timer_errors
        self._schedules = schedules
        self._logs = logs
        self._register = register
        self.starts = Starts(register)
        self.measures: Measures | None = None
        self.due_ms: float | None = None
        """The milliseconds until a message is due, as the last turn said."""
        self.ran_timers = False
        self._calls: dict[str, StepCall] = {}
        self.queues = Queues(store, missing)
        self.parked: list[tuple[float, float, Task]] = []
        """Results to send again later: the time, the pause before it, the task."""
        self._missing = missing
        self._held_runs = HeldRuns()
        self.alone = Alone(leases.held)
        self._places: dict[str, Json] = {}
        self.is_searching = False
        """The last claim has not seen the whole of a queue with tasks for other workers."""

    def turn(self, results: list[Task], room: int) -> list[Task]:
        """Report results, claim up to `room` tasks, and return the new ones."""
        for task in results:
            if task.refused is not None:
                self._missing.add(task)
        results = self._held_runs.keep_back(self._without_settled(results))
        if not results and not room:
            return []
        asked = time.monotonic()
        reply = self._ask(results, room)
        self.due_ms, self.ran_timers = reply.get("next_ms"), "timers" in reply
        for task, verdict in zip(results, reply["verdicts"], strict=True):
            self._end(task, verdict)
        tasks = [task for task in unpack(reply, self._calls, self._sources) if self._keep(task)]
        self.starts.limit(tasks, asked)
        if room:
            self.alone.saw(reply, tasks)
            places = reply.get("places", {})
            self.is_searching = any(places.values())
            self._places.update(places)
        return tasks

    def _without_settled(self, results: list[Task]) -> list[Task]:
        """Forget the tasks that have committed in a transaction of their own."""
        if all(task.outcome is None or task.outcome.verdict is None for task in results):
            return results
        left = []
        for task in results:
            if task.outcome is None or task.outcome.verdict is None:
                left.append(task)
            else:
                self._end(task, task.outcome.verdict)
        return left

    def unsettled(self) -> int:
        """Return the number of tasks held, without results that wait to be sent again."""
        return len(self._leases.held) - len(self.parked) - len(self._held_runs)

    def _ask(self, results: list[Task], room: int) -> TurnReply:
        queues = self.queues.names()
        lines = self._logs.take_of(results)
        try:
            return self._send(results, room, queues, lines=lines)
        except Refused as error:
            refusal = error
            self._logs.put_back(lines)
        if not results:
            return self._claim_apart(queues, room)
        is_held = refusal.sqlstate == LOCK_TIMEOUT
        if is_held or lines:  # without its log, which the upkeep thread sends then
            try:
                return self._send(results, room, queues, skip=is_held)
            except Refused as error:
                refusal = error
        log.error("the database refused a turn: %s", refusal, extra={"action": "turn"})
        # One bad result must not hold up the others: halve until it stands alone.
        verdicts = self._send_apart(results, time.monotonic() + _APART_SECONDS)
        return {**self._ask([], room), "verdicts": verdicts}

    def _send(
        self,
        results: list[Task],
        room: int,
        queues: Sequence[str] = (),
        *,
        beside: int = 0,
        skip: bool = False,
        readable: bool = False,
        tries: int = _TRIES,
        lines: Batch | None = None,
    ) -> TurnReply:
        """Call `turn`; `skip`: do not wait for runs that another session holds.

        `readable`: fail the runs of tasks that the database cannot give, and take the next one.
        `beside` is a number of tasks that have been claimed and are not held yet.
        """
        refused = self._missing.paths() if room else []
        options = self._options(self.unsettled() - len(results) + beside, refused) if room else {}
        if ended := ends.asked_for():
            options["ended"] = ended
        if skip:
            options["skip"] = True
        if readable:
            options["readable"] = True
        if lines:
            options["logs"] = lines.as_json()
        has_registered = False
        while True:
            try:
                reply = self._store.turn(
                    self._worker,
                    [task.report() for task in results],
                    queues=queues,
                    quantity=room,
                    lease=self._lease,
                    refused=refused,
                    options=options,
                    tries=tries,
                )
            except Refused as error:
                if has_registered or _WORKER_KEY not in str(error):
                    raise
            else:
                self._timer_errors.log(reply)
                self._schedules.add(reply)
                ends.log_ends(reply)
                return reply
            log.warning(
                "the row of this worker was deleted: it registers again", extra={"action": "turn"}
            )
            self._register()
            has_registered = True

    def _options(self, unsettled: int, refused: list[str]) -> dict[str, Json]:
        options: dict[str, Json] = {}
        if crashed := self.alone.option(unsettled):
            options["crashed"] = crashed
        if refused and self._places:
            options["places"] = self._places
        return options

    def _claim_apart(self, queues: Sequence[str], room: int) -> TurnReply:
        """Claim from each queue alone: one that fails in the database must not hold up the rest."""
        claimed: TurnReply = {"verdicts": [], "tasks": [], "contexts": {}, "specs": {}}
        for queue in queues:
            try:
                self._claim_from(queue, room, claimed)
            except Refused as error:
                self.queues.pause(queue, error)
            if len(claimed["tasks"]) >= room or "alone" in claimed:
                break
        return claimed

    def _claim_from(self, queue: str, room: int, claimed: TurnReply) -> None:
        """Add tasks of a queue to those claimed: one by one as far as a row that is bad."""
        count = len(claimed["tasks"])
        try:
            self._add(claimed, self._send([], room - count, [queue], beside=count))
        except Refused as error:
            if not error.is_content:
                raise
        else:
            return
        # The arguments of several tasks may be larger than one reply can be, or a row is bad.
        for held in range(count, min(room, count + _READABLE)):
            reply = self._send([], 1, [queue], beside=held, readable=True)
            self._log_unreadable(reply)
            self._add(claimed, reply)
            if reply.get("unreadable") or "alone" in reply or len(claimed["tasks"]) == held:
                return

    def _add(self, claimed: TurnReply, reply: TurnReply) -> None:
        reply["tasks"] = claimed["tasks"] + reply["tasks"]
        reply["contexts"].update(claimed["contexts"])
        reply["specs"].update(claimed["specs"])
        reply["places"] = {**claimed.get("places", {}), **reply.get("places", {})}
        claimed.update(reply)

    def _log_unreadable(self, reply: TurnReply) -> None:
        for row in reply.get("unreadable", []):
            log.error(
                "task %s/%s/%s cannot be claimed: %s; %s",
                row["run"],
                row["step"],
                row["index"],
                row["error"],
                "its run has failed" if row["failed"] else "it is left alone for five minutes",
                extra={"action": "turn"},
            )

    def _send_apart(self, results: list[Task], until: float) -> list[str]:
        verdicts: list[str] = []
        half = len(results) // 2
        for part in filter(None, (results[:half], results[half:])):
            try:
                verdicts += self._send(part, 0, skip=True, tries=_TRIES_APART)["verdicts"]
            except Refused as error:
                if not error.is_content and time.monotonic() > until:
                    verdicts += [self._park(task, error) for task in part]
                elif part[1:]:
                    verdicts += self._send_apart(part, until)
                else:
                    verdicts.append(self._replace_or_park(part[0], error))
        return verdicts

    def _replace_or_park(self, task: Task, error: Refused, pause: float = 0.0) -> str:
        if error.is_content:
            return self._replace(task, error)
        return self._park(task, error, pause)

    def _replace(self, task: Task, error: Refused) -> str:
        """Report a failure in place of a result that the database refuses."""
        message = clean(f"the database refused the result: {error}")
        record: dict[str, Json] = {"type": "ResultRefused", "message": message}
        task.outcome = Outcome("fatal", error=record)
        try:
            return self._send([task], 0, skip=True)["verdicts"][0]
        except Refused as again:
            return self._fail_run(task, record) if again.is_content else self._park(task, again)

    # Results that the database cannot settle now

    def _park(self, task: Task, error: Refused, pause: float = 0.0) -> str:
        """Keep a result that is not at fault itself, and send it alone later."""
        if not pause:
            log.warning(
                "the result waits apart, the database cannot settle it now: %s",
                error,
                extra=task.fields("turn"),
            )
        pause = min(max(pause * 2, _FIRST_PARKED_SECONDS), _LONGEST_PARKED_SECONDS)
        self.parked.append((time.monotonic() + pause, pause, task))
        return _PARKED

    def next_retry(self) -> float:
        """Return the time at which the next result is to be sent again."""
        parked = min((due for due, _, _ in self.parked), default=math.inf)
        return min(parked, self._held_runs.next_due())

    def retry_held(self) -> list[Task]:
        """Ask for the held runs that are due; return the results of those that are free now."""
        due = self._held_runs.due()
        if not due:
            return []
        try:
            verdicts = self._send(due, 0, skip=True, tries=1)["verdicts"]
        except Refused:
            verdicts = self._send_apart(due, time.monotonic() + _APART_SECONDS)
        free: list[Task] = []
        for task, verdict in zip(due, verdicts, strict=True):
            if verdict == _BUSY:
                self._held_runs.still_held(task)
            else:
                free += self._held_runs.free(task)
                self._end(task, verdict)
        return free

    def retry_parked(self) -> None:
        """Send each parked result that is due, alone."""
        if not self.parked:
            return
        now = time.monotonic()
        parked, self.parked = self.parked, []
        for due, pause, task in parked:
            if due > now:
                self.parked.append((due, pause, task))
                continue
            try:
                verdict = self._send([task], 0, skip=True, tries=1)["verdicts"][0]
            except Refused as error:
                verdict = self._replace_or_park(task, error, pause)
            self._end(task, verdict)

    def _end(self, task: Task, verdict: str) -> None:
        if verdict == _BUSY:
            self._held_runs.put_off(task)
        elif verdict != _PARKED:
            self._forget(task)
            log_verdict(task, verdict)
            if self.measures is not None:
                self.measures.saw_verdict(task, verdict)

    def _fail_run(self, task: Task, record: dict[str, Json]) -> str:
        """Fail the run of a task whose failure cannot be reported; the last resort."""
        try:
            self._store.fail_run(task.run_id, {**record, "step": task.step})
        except (Refused, NotFound) as error:
            # Its lease will expire, and crashes are bounded: no row may end a worker (S-20).
            log.error(  # noqa: TRY400
                "the run cannot be failed either, its task is left until its lease expires: %s",
                error,
                extra=task.fields("turn"),
            )
            return "lost"
        return "run_terminal"

    def _keep(self, task: Task) -> bool:
        """Hold a claimed task; return False if its handler runs here already and takes it over."""
        running = self._leases.held.get(task.key)
        if running is not None and not running.cancelled:
            if running.iteration == task.iteration:
                running.fence, running.attempt = task.fence, task.attempt
                return False
            running.cancelled = True  # another worker has done its iteration: this is the next one
        self._leases.held[task.key] = task
        return True

    def _forget(self, task: Task) -> None:
        if self._leases.held.get(task.key) is task:
            del self._leases.held[task.key]
