"""The rules of a flow made by create_flow, said once more, plainly: one run, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a flow, as add_step takes it."""

    slug: str
    deps: tuple[str, ...] = ()
    is_map: bool = False
    pattern: dict[str, Any] | None = None
    when_unmet: str = "skip"
    when_exhausted: str = "fail"
    max_attempts: int = 1


@dataclass
class Task:
    """One task; `busy` is whether somebody worked on it when its run or step ended."""

    status: str = "queued"
    attempts: int = 0
    output: Any = None
    busy: bool = False


@dataclass
class State:
    """One step of the run."""

    step: Step
    remaining_deps: int
    status: str = "created"
    initial: int | None = None
    remaining: int | None = None
    output: Any = None
    reason: str | None = None
    tasks: list[Task] = field(default_factory=list)


class Run:
    """One run: what its rows are after each call."""

    def __init__(self, steps: list[Step], run_input: Any) -> None:
        self.input, self.status = run_input, "started"
        self.output: dict[str, Any] | None = None
        self.remaining = len(steps)
        self.states = {step.slug: State(step, len(step.deps)) for step in steps}
        self.sent = self.archived = 0
        for state in self.states.values():
            roots_size = len(run_input) if isinstance(run_input, list) else None
            state.initial = 1 if not state.step.is_map else None if state.step.deps else roots_size
        self._advance()

    def claim(self, slug: str, index: int) -> bool:
        """start_tasks with this task's message."""
        task = self.states[slug].tasks[index]
        live = self.status == "started" and self.states[slug].status == "started"
        if not live or task.status != "queued":
            return False
        task.status, task.attempts = "started", task.attempts + 1
        return True

    def complete(self, slug: str, index: int, output: Any) -> None:
        """complete_task."""
        state = self.states[slug]
        task = state.tasks[index]
        if self.status == "failed" or state.status != "started" or task.status != "started":
            return
        unsized = any(m.step.is_map and m.initial is None for m in self._dependents(slug))
        if unsized and not state.step.is_map and not isinstance(output, list):
            task.status, task.output = "failed", output
            self._fail(state)
            return
        task.status, task.output = "completed", output
        self.archived += 1
        assert state.remaining is not None
        state.remaining -= 1
        if state.remaining == 0:
            outputs = [t.output for t in state.tasks]
            state.status, state.output = "completed", outputs if state.step.is_map else output
            self._ended(state)
        self._advance()

    def fail(self, slug: str, index: int) -> None:
        """fail_task."""
        state = self.states[slug]
        task = state.tasks[index]
        if self.status == "failed" and task.status == "cancelled" and task.busy:
            task.status = "failed"
        elif self.status == "failed" or state.status != "started" or task.status != "started":
            return
        elif task.attempts < max(state.step.max_attempts, 1):
            task.status = "queued"
        elif state.step.when_exhausted == "fail":
            task.status = "failed"
            self._fail(state)
        else:
            task.status = "failed"
            self.archived += 1
            self._skip(state, "handler_failed")
            if state.step.when_exhausted == "skip":
                self._ended(state)
            else:
                self.remaining -= 1
                self._cut(state)
            self._advance()

    def _dependents(self, slug: str) -> list[State]:
        return [state for state in self.states.values() if slug in state.step.deps]

    def _ended(self, state: State) -> None:
        self.remaining -= 1
        for other in self._dependents(state.step.slug):
            if other.status != "created":
                continue
            other.remaining_deps -= 1
            if other.step.is_map:
                done = state.status == "completed"
                size = state.initial if state.step.is_map else len(state.output or ())
                other.initial = size if done else 0

    def _skip(self, state: State, reason: str) -> None:
        state.status, state.reason, state.remaining = "skipped", reason, None
        self._end_tasks(state, "skipped")

    def _cut(self, state: State) -> None:
        for other in self._dependents(state.step.slug):
            if other.status in ("created", "started"):
                self._skip(other, "dependency_skipped")
                self.remaining -= 1
            self._cut(other)

    def _end_tasks(self, state: State, status: str) -> None:
        for task in state.tasks:
            if task.status in ("queued", "started"):
                task.busy, task.status = task.status == "started", status
                self.archived += 1

    def _fail(self, state: State) -> None:
        state.status, self.status = "failed", "failed"
        self.archived += sum(task.status == "failed" for task in state.tasks)
        for other in self.states.values():
            self._end_tasks(other, "cancelled")

    def _met(self, step: Step) -> bool:
        done = [slug for slug in step.deps if self.states[slug].status == "completed"]
        value = {slug: self.states[slug].output for slug in done} if step.deps else self.input
        return step.pattern is None or _contains(value, step.pattern)

    def _ready(self) -> list[State]:
        states = self.states.values()
        return [state for state in states if state.status == "created" and not state.remaining_deps]

    def _advance(self) -> None:
        while self._conditions() and self._empty():
            self._complete_empty()
        if self.status == "failed":
            return
        for state in self._ready():
            state.status, state.remaining = "started", state.initial
            state.tasks = [Task() for _ in range(state.initial or 0)]
            self.sent += len(state.tasks)
        if self.remaining == 0:
            leaves = [s for s in self.states.values() if not self._dependents(s.step.slug)]
            outputs = {s.step.slug: s.output for s in leaves if s.status == "completed"}
            self.status, self.output = "completed", outputs or None

    def _empty(self) -> list[State]:
        return [state for state in self._ready() if state.initial == 0 and self._met(state.step)]

    def _complete_empty(self) -> None:
        while empty := self._empty():
            for state in empty:
                state.status, state.output, state.remaining = "completed", [], 0
                self._ended(state)

    def _conditions(self) -> bool:
        while unmet := [state for state in self._ready() if not self._met(state.step)]:
            hard = [state for state in unmet if state.step.when_unmet == "fail"]
            if hard:
                self._fail(hard[0])
                return False
            for state in (s for s in unmet if s.step.when_unmet == "skip"):
                self._skip(state, "condition_unmet")
                self._ended(state)
            for state in (s for s in unmet if s.step.when_unmet == "skip-cascade"):
                if state.status == "created":
                    self._skip(state, "condition_unmet")
                    self.remaining -= 1
                self._cut(state)
        return True


def _contains(value: Any, pattern: Any) -> bool:
    """`value @> pattern` for objects and scalars, as far as the test's patterns go."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in value and _contains(value[key], inner) for key, inner in pattern.items()
        )
    return bool(value == pattern)
