"""A turn: report results, get verdicts and new tasks; one bad result does not stop the rest."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from typing import TYPE_CHECKING

from pgflow_yaml.database.store import Refused
from pgflow_yaml.errors import NotFound
from pgflow_yaml.worker.calls import clean
from pgflow_yaml.worker.reply import unpack
from pgflow_yaml.worker.task import Outcome, StepCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgflow_yaml.database.store import Store, TurnReply
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.leases import Leases
    from pgflow_yaml.worker.task import Sources, Task
    from pgflow_yaml.worker.upkeep import TimerErrors

log = logging.getLogger(__name__)

_QUEUES_SECONDS, _QUEUES_AT_LEAST_SECONDS = 2.0, 0.1
_REFUSED_SECONDS = 10.0
_WORKER_KEY = "step_tasks_last_worker_id_fkey"  # a claim by a worker that is not registered
_TRIES, _TRIES_APART = 5, 2
_APART_SECONDS = 10.0
_PARKED, _FIRST_PARKED_SECONDS, _LONGEST_PARKED_SECONDS = "parked", 1.0, 30.0
_LARGE_CHARACTERS = 256 * 1024


class TurnClient:
    """Call `turn` for one worker; one thread uses it."""

    def __init__(
        self,
        worker: str,
        store: Store,
        leases: Leases,
        *,
        lease: float,
        sources: Sources,
        timer_errors: TimerErrors,
        register: Callable[[], None] = lambda: None,
    ) -> None:
        self._worker = worker
        self._store = store
        self._leases = leases
        self._lease = lease
        self._sources = sources
        self._timer_errors = timer_errors
        self._register = register
        self.due_ms: float | None = None
        """The milliseconds until a message is due, as the last turn said."""
        self.ran_timers = False
        self._calls: dict[str, StepCall] = {}
        self._queues: deque[str] = deque()
        self._queues_seen = self._queues_until = 0.0
        self.parked: list[tuple[float, float, Task]] = []
        """Results to send again later: the time, the pause before it, the task."""
        self._refused: dict[str, float] = {}
        self._paused_queues: dict[str, float] = {}

    def choose_queues(self, named: Sequence[str] | None) -> None:
        """Serve these queues, or all of the database; each turn begins with another one."""
        now = time.monotonic()
        if now >= self._queues_until:
            try:
                queues = list(named) if named is not None else self._store.served_queues()
            except Refused as error:
                log.error("cannot list the queues: %s", error, extra={"action": "turn"})  # noqa: TRY400
                queues = list(self._queues)
            if set(queues) != set(self._queues):
                self._queues = deque(queues)
            self._queues_seen, self._queues_until = now, now + _QUEUES_SECONDS
        self._queues.rotate(-1)

    def look_for_queues(self) -> None:
        """List the queues again at the next turn: a new flow may have been started."""
        self._queues_until = min(self._queues_until, self._queues_seen + _QUEUES_AT_LEAST_SECONDS)

    def turn(self, results: list[Task], room: int) -> list[Task]:
        """Report results, claim up to `room` tasks, and return the new ones."""
        for task in results:
            self._refuse_handler(task)
        reply = self._ask(results, room)
        self.due_ms, self.ran_timers = reply.get("next_ms"), "timers" in reply
        for task, verdict in zip(results, reply["verdicts"], strict=True):
            self._end(task, verdict)
        return [task for task in unpack(reply, self._calls, self._sources) if self._keep(task)]

    def _ask(self, results: list[Task], room: int) -> TurnReply:
        now = time.monotonic()
        queues = [name for name in self._queues if self._paused_queues.get(name, now) <= now]
        try:
            return self._send(results, room, queues)
        except Refused as error:
            if not results:
                return self._claim_apart(queues, room)
            log.error("the database refused a turn: %s", error, extra={"action": "turn"})  # noqa: TRY400
        # One bad result must not hold up the others: halve until it stands alone.
        verdicts = self._send_apart(results, time.monotonic() + _APART_SECONDS)
        return {**self._ask([], room), "verdicts": verdicts}

    def _send(
        self, results: list[Task], room: int, queues: Sequence[str] = (), *, tries: int = _TRIES
    ) -> TurnReply:
        try:
            return self._send_once(results, room, queues, tries)
        except Refused as error:
            if _WORKER_KEY not in str(error):
                raise
        log.warning(
            "the row of this worker was deleted: it registers again", extra={"action": "turn"}
        )
        self._register()
        return self._send_once(results, room, queues, tries)

    def _send_once(
        self, results: list[Task], room: int, queues: Sequence[str], tries: int
    ) -> TurnReply:
        reply = self._store.turn(
            self._worker,
            [task.report() for task in results],
            queues=queues,
            quantity=room,
            lease=self._lease,
            refused=self._refused_now(),
            tries=tries,
        )
        self._timer_errors.log(reply)
        return reply

    def _claim_apart(self, queues: Sequence[str], room: int) -> TurnReply:
        """Claim from each queue alone: one that fails in the database must not hold up the rest."""
        claimed: TurnReply = {"verdicts": [], "tasks": [], "contexts": {}, "specs": {}}
        for queue in queues:
            if (remaining := room - len(claimed["tasks"])) <= 0:
                break
            try:
                reply = self._claim_from(queue, remaining)
            except Refused as error:
                self._paused_queues[queue] = time.monotonic() + _REFUSED_SECONDS
                log.error(  # noqa: TRY400
                    "queue %s is paused for %g s, the database refuses to give its tasks: %s",
                    queue,
                    _REFUSED_SECONDS,
                    error,
                    extra={"action": "turn"},
                )
                continue
            claimed["tasks"] += reply["tasks"]
            claimed["contexts"].update(reply["contexts"])
            claimed["specs"].update(reply["specs"])
        return claimed

    def _claim_from(self, queue: str, room: int) -> TurnReply:
        try:
            return self._send([], room, [queue])
        except Refused as error:
            if not error.is_content or room == 1:
                raise
        # The arguments of several tasks may be larger than one reply can be.
        return self._send([], 1, [queue])

    def _send_apart(self, results: list[Task], until: float) -> list[str]:
        verdicts: list[str] = []
        half = len(results) // 2
        for part in filter(None, (results[:half], results[half:])):
            try:
                verdicts += self._send(part, 0, tries=_TRIES_APART)["verdicts"]
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
            return self._send([task], 0)["verdicts"][0]
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
        """Return the time at which the next parked result is due."""
        return min((due for due, _, _ in self.parked), default=math.inf)

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
                verdict = self._send([task], 0, tries=1)["verdicts"][0]
            except Refused as error:
                verdict = self._replace_or_park(task, error, pause)
            self._end(task, verdict)

    def _end(self, task: Task, verdict: str) -> None:
        if verdict != _PARKED:
            self._forget(task)
            self._log(task, verdict)

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

    def _log(self, task: Task, verdict: str) -> None:
        outcome = task.outcome
        if outcome is None or outcome.kind == "released":
            return
        if len(outcome.output) > _LARGE_CHARACTERS:
            log.warning(
                "output of %d kB: pass a reference to large things",
                len(outcome.output) // 1024,
                extra=task.fields("large"),
            )
        if verdict == "lost":  # the attempt is the fence
            log.warning(
                "late result refused: the task has another owner", extra=task.fields("lost")
            )
        elif outcome.error is not None and verdict == "applied":
            kind = outcome.error.get("type")
            log.warning(
                "attempt failed: %s: %s",
                kind,
                outcome.error.get("message"),
                extra=task.fields("failed"),
            )

    # Handlers that this worker does not have

    def _refuse_handler(self, task: Task) -> None:
        path = task.call.handler
        if task.refused is None:
            return
        if path not in self._refused:
            log.warning(
                "handler %s is not available here: %s; its tasks are left to other workers",
                path,
                task.refused,
                extra=task.fields("refused"),
            )
        self._refused[path] = time.monotonic() + _REFUSED_SECONDS

    def _refused_now(self) -> list[str]:
        """Return the handlers to refuse now; each is tried again after 10 s."""
        now = time.monotonic()
        return [path for path, until in self._refused.items() if now < until]
