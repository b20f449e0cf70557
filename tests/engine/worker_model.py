"""What a deployed flow's workers may do, said once more: attempts, leases, back-off, verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.expressions import ExpressionError, evaluate
from tests.engine.flow_model import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.engine.flow_states import Step, Task

Key = tuple[str, str, int]
CRASHES = 5


class Model:
    """All runs, and the protocol of workers: attempts, leases, back-off."""

    def __init__(self) -> None:
        self.now = 0
        self.runs: dict[str, Run] = {}

    def start(
        self, run: str, flow: list[Step], run_input: dict[str, Any], *, fail_fast: bool
    ) -> None:
        """A new run."""
        self.runs[run] = Run(flow, run_input, self.now, fail_fast=fail_fast)

    def task(self, key: Key) -> Task:
        """One task by its names."""
        return self.runs[key[0]].states[key[1]].tasks[key[2]]

    def visible(self) -> dict[Key, int]:
        """All messages and when each can be read, the next first."""
        found = {
            (run_id, slug, index): task.visible
            for run_id, run in self.runs.items()
            for slug, state in run.states.items()
            for index, task in enumerate(state.tasks)
            if task.visible is not None and not task.lost
        }
        return dict(sorted(found.items(), key=lambda pair: pair[1]))

    def due(self) -> list[int]:
        """When each message can be read and each wait ends."""
        waits = [state.due or 0 for run in self.runs.values() for state in run.waiting()]
        return [*self.visible().values(), *waits]

    def lost(self) -> list[Task]:
        """Tasks that need a message and have none: queued, or started and out of lease."""
        return [
            task
            for run in self.runs.values()
            for state in run.states.values()
            for task in state.tasks
            if task.lost
            and (task.status == "queued" or (task.status == "started" and task.lease < self.now))
        ]

    def is_last_crash(self, key: Key, worker: str) -> bool:
        """Whether reading this message is the end of a task that has killed its workers."""
        task = self.task(key)
        if self.is_stopping(key):
            return False
        dead = task.status == "started" and task.worker != worker
        return dead and task.crashes + 1 >= CRASHES

    def claim(
        self, worker: str, lease: int, read: list[Key], got: Sequence[Key]
    ) -> set[tuple[Key, int]]:
        """A worker reads these messages; the tasks it has now, each with its attempt.

        Of tasks that have crashed any one may be given, alone: `got` tells which.
        """
        for key in read:
            task = self.task(key)
            stopping, started = self.is_stopping(key), task.status == "started"
            if started and (stopping or self.is_last_crash(key, worker)):
                task.crashes, task.uncounted = task.crashes + 1, task.uncounted + 1
                task.error = "Crashed"
                task.ends("cancelled" if stopping else "failed")
                self.runs[key[0]].close([key[1]], self.now)
        tasks = {key: self.task(key) for key in read}
        live = {key: task for key, task in tasks.items() if task.status in ("queued", "started")}
        given = {key: task for key, task in live.items() if not task.crashes} or {
            key: task for key, task in live.items() if key in got[:1]
        }
        assert bool(given) == bool(live)
        for task in given.values():
            taken_over = task.status == "started"
            task.uncounted += taken_over
            task.crashes += taken_over and task.worker != worker
            task.status, task.worker, task.attempts = "started", worker, task.attempts + 1
            task.started, task.lease = self.now, self.now + lease
            task.visible = task.lease
        return {(key, task.attempts) for key, task in given.items()}

    def is_stopping(self, key: Key) -> bool:
        """Whether the task's run only waits for what was stopped, and for finally."""
        run = self.runs[key[0]]
        return run.is_stopping(run.states[key[1]].step)

    def holds(self, worker: str, key: Key, attempt: int) -> bool:
        """Whether this attempt is the worker's, and live: the fence."""
        task = self.task(key)
        return (task.status, task.worker, task.attempts) == ("started", worker, attempt)

    def beat(self, worker: str, lease: int, key: Key, attempt: int) -> str:
        """A heartbeat for one attempt: held, lost or stop."""
        task, step = self.task(key), self.runs[key[0]].states[key[1]].step
        stopping = self.is_stopping(key) and (task.status, task.attempts) == ("started", attempt)
        if self.holds(worker, key, attempt):
            task.visible = task.lease = min(self.now + lease, task.started + step.timeout + 5000)
            return "stop" if stopping else "held"
        return "stop" if stopping or task.status in ("cancelled", "skipped") else "lost"

    def settle(self, worker: str, reports: list[dict[str, Any]]) -> list[str]:
        """A batch of reports; their verdicts."""
        keys = [(r["run"], r["step"], r["index"]) for r in reports]
        verdicts: list[str] = []
        applied: dict[Key, dict[str, Any]] = {}
        for key, report in zip(keys, reports, strict=True):
            verdict = self._verdict(worker, key, report)
            if verdict == "applied" and key in applied:
                verdict = "lost"
            if verdict == "applied":
                applied[key] = report
            verdicts.append(verdict)
        for key, report in applied.items():
            self._record(key, report)
        for run in {key[0] for key in applied}:
            touched = dict.fromkeys(key[1] for key in applied if key[0] == run)
            self.runs[run].close(touched, self.now)
        return verdicts

    def _verdict(self, worker: str, key: Key, report: dict[str, Any]) -> str:
        task, mine = self.task(key), (worker, report["attempt"])
        if self.runs[key[0]].status != "started":
            return "run_terminal"
        if self.holds(worker, key, report["attempt"]):
            return "applied"
        same = task.output == report.get("output") and (task.worker, task.attempts) == mine
        both = task.status == report["outcome"] == "completed"
        return "already_same" if same and both else "lost"

    def _record(self, key: Key, report: dict[str, Any]) -> None:
        task, step = self.task(key), self.runs[key[0]].states[key[1]].step
        counted, outcome = task.attempts - task.uncounted, report["outcome"]
        error = report.get("error", {}).get("type")
        if outcome == "completed" and step.until is not None:
            outcome, error = self._repeated(step, task, report["output"])
        if outcome == "completed":
            task.output = report["output"]
            task.ends("completed")
        elif self.is_stopping(key):
            task.uncounted += outcome in ("released", "again", "crashed")
            task.ends("cancelled")
        elif outcome == "again":
            task.status, task.uncounted = "queued", task.uncounted + 1
            task.iteration, task.crashes = task.iteration + 1, 0
            task.visible = self.now + step.every
        elif outcome == "released":
            task.status, task.uncounted, task.visible = "queued", task.uncounted + 1, self.now
        elif outcome == "crashed":
            self._crash(step, task, report)
        elif outcome != "fatal" and counted < step.max_attempts:
            rest = min(3_600_000, step.base_delay * 2 ** (counted - 1))
            task.status, task.visible = "queued", self.now + report.get("delay_ms", rest)
        else:
            task.error = error
            task.ends("failed")

    def _crash(self, step: Step, task: Task, report: dict[str, Any]) -> None:
        task.uncounted, task.crashes = task.uncounted + 1, task.crashes + 1
        if task.crashes == CRASHES:
            task.error = "Crashed"
            task.ends("failed")
        else:
            rest = min(3_600_000, step.base_delay * 2 ** (task.crashes - 1))
            task.status, task.visible = "queued", self.now + report.get("delay_ms", rest)

    @staticmethod
    def _repeated(step: Step, task: Task, output: Any) -> tuple[str, str | None]:
        """What the output of a repeated step means, and the error if it is one."""
        until = step.until
        assert until is not None
        names = {"output": output, "iteration": task.iteration}
        try:
            holds = evaluate(until.ast, {path: _at(names, path) for path in until.paths})
        except ExpressionError:
            return "fatal", "ExpressionError"
        if holds:
            return "completed", None
        if task.iteration + 1 >= step.most_calls:
            return "fatal", "RepeatExhausted"
        return "again", None


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
