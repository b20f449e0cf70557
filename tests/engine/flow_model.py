"""The rules of a deployed flow, said once more, plainly, from the language's reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgflow_yaml.expressions import ExpressionError, evaluate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgflow_yaml.expressions import Expression

TERMINAL = ("completed", "failed", "skipped", "cancelled")
# How a dependency ended, and which edges that meets; "cut" is skipped: upstream.
MET = {
    "success": ("completed", "skipped"),
    "failure": ("failed",),
    "any": ("completed", "skipped", "cut", "failed"),
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a flow, as a file says it."""

    slug: str
    deps: dict[str, str] = field(default_factory=dict)
    items: Expression | None = None
    count: int | None = None
    condition: Expression | None = None
    when_unmet: str = "skip"
    when_exhausted: str = "fail"
    max_attempts: int = 3
    base_delay: int = 1000
    timeout: int = 60_000
    start_delay: int = 0
    max_parallel: int = 1000
    fail_fast: bool = True
    tolerate: int | None = None
    percent: float | None = None

    @property
    def is_map(self) -> bool:
        """Whether its output is a list of its tasks' outputs."""
        return self.items is not None or self.count is not None

    @property
    def is_soft(self) -> bool:
        """A map that a failed item does not end."""
        return not self.fail_fast or self.tolerate is not None or self.percent is not None


@dataclass
class Task:
    """One task, and when its message is visible (none: not sent, or done with)."""

    item: Any = None
    status: str = "queued"
    attempts: int = 0
    uncounted: int = 0
    crashes: int = 0
    worker: str | None = None
    started: int = 0
    lease: int = 0
    visible: int | None = None
    lost: bool = False
    output: Any = None
    error: str | None = None

    def ends(self, status: str) -> None:
        """No attempt follows."""
        self.status, self.visible, self.lost = status, None, False


@dataclass
class State:
    """One step of a run."""

    step: Step
    status: str = "created"
    cut: bool = False
    reason: str | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    tasks: list[Task] = field(default_factory=list)
    sent: int = 0

    @property
    def outcome(self) -> str:
        """How it ended, as its dependents' edges see it."""
        return "cut" if self.cut else self.status

    @property
    def never_began(self) -> bool:
        """Whether its run ended before it was decided what becomes of it."""
        return self.status == "cancelled" and not self.tasks

    def names(self) -> dict[str, Any]:
        """What expressions read of it."""
        names = {"output": self.output, "status": self.status, "error": self.error}
        return names | {"skip_reason": self.reason}

    def skips(self, reason: str, *, cut: bool) -> None:
        """It and what is left of its tasks are skipped; a cut spreads."""
        self.status, self.reason, self.cut = "skipped", reason, cut
        self.end_tasks("skipped")

    def fails(self, kind: str, attempts: int = 0) -> None:
        """It has failed for good; what is left of its tasks is stopped."""
        self.end_tasks("cancelled")
        self.status, self.error = "failed", {"type": kind, "attempts": attempts}

    def end_tasks(self, status: str) -> None:
        """What is live of its tasks ends with it."""
        for task in self.tasks:
            if task.status in ("queued", "started"):
                task.ends(status)


class Run:
    """One run of a flow."""

    def __init__(
        self, flow: list[Step], run_input: dict[str, Any], now: int, *, fail_fast: bool = True
    ) -> None:
        self.input, self.fail_fast, self.status = run_input, fail_fast, "started"
        self.output: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.states = {step.slug: State(step) for step in flow}
        self.advance(now)

    def close(self, touched: Iterable[str], now: int) -> None:
        """All rows of a batch are settled: judge the steps, then the run, then go on."""
        for state in (self.states[slug] for slug in touched):
            step, statuses = state.step, [task.status for task in state.tasks]
            spent = [task for task in state.tasks if task.status == "failed"]
            open_ones = not {"queued", "started"}.isdisjoint(statuses)
            may = step.tolerate or int((step.percent or 0) * len(statuses) / 100)
            if len(spent) > may and (step.fail_fast or not open_ones):
                self._exhaust(state, spent[0])
            elif not open_ones:
                outputs = [task.output for task in state.tasks]
                state.status, state.output = "completed", outputs if step.is_map else outputs[0]
            else:
                self._send(state, now)
        if not self._is_stopped():
            self.advance(now)

    def _exhaust(self, state: State, task: Task) -> None:
        kind, attempts = str(task.error), task.attempts - task.uncounted
        if state.step.when_exhausted == "fail" or (
            kind == "ExpressionError" and not state.step.is_soft
        ):
            state.fails(kind, attempts)
            return
        state.skips("handler_failed", cut=state.step.when_exhausted == "skip-cascade")
        state.error = {"type": kind, "attempts": attempts}

    def advance(self, now: int) -> None:
        """Look at steps until nothing more ends, then begin those that may."""
        beginning: dict[str, list[Any]] = {}
        looking = True
        while looking:
            looking = False
            for state in self.states.values():
                if state.status != "created" or state.step.slug in beginning:
                    continue
                items = self._look(state)
                looking = looking or items is not None or state.status != "created"
                if items:
                    beginning[state.step.slug] = items
        if self._is_stopped():
            return
        for slug, items in beginning.items():
            state = self.states[slug]
            state.status, state.tasks = "started", [Task(item) for item in items]
            self._send(state, now + state.step.start_delay)
        if all(state.status in TERMINAL for state in self.states.values()):
            if failed := self._failed():
                self.end("failed", failed)
                return
            leaves = [s for s in self.states.values() if not self.dependents(s.step.slug)]
            self.output = {s.step.slug: s.output for s in leaves if s.status == "completed"}
            self.status = "completed"

    def _look(self, state: State) -> list[Any] | None:
        """The items of the tasks it begins with; none: it has ended, or waits."""
        step = state.step
        ended = {slug: how for slug in step.deps if (how := self._ended(slug))}
        if any(how not in MET[step.deps[slug]] for slug, how in ended.items()):
            state.skips("dependency_skipped", cut=True)
            return None
        if len(ended) < len(step.deps):
            return None
        nothing_ran = step.deps and not {"completed", "failed"} & set(ended.values())
        if nothing_ran and "any" not in step.deps.values():
            state.skips("dependency_skipped", cut=True)
            return None
        return self._items(state) if self._holds(state) else None

    def _ended(self, slug: str) -> str | None:
        """How a dependency ended; a failure that ends the run is nothing its dependents see."""
        state = self.states[slug]
        if state.status == "failed" and self.fail_fast and not self._catchers(slug):
            return None
        return state.outcome if state.status in TERMINAL else None

    def _holds(self, state: State) -> bool:
        if state.step.condition is None:
            return True
        try:
            if evaluate(state.step.condition.ast, self.environment(state.step.condition)):
                return True
        except ExpressionError:
            state.fails("ExpressionError")
            return False
        if state.step.when_unmet == "fail":
            state.fails("ConditionUnmet")
        else:
            state.skips("condition_unmet", cut=state.step.when_unmet == "skip-cascade")
        return False

    def _items(self, state: State) -> list[Any] | None:
        step = state.step
        if step.items is None:
            return [None] * (step.count or 1)
        try:
            items = evaluate(step.items.ast, self.environment(step.items))
        except ExpressionError:
            items = "an error"
        if items is not None and not isinstance(items, list):
            state.fails("ExpressionError")
        elif not items:
            state.status, state.output = "completed", []
        else:
            return items
        return None

    def _send(self, state: State, at: int) -> None:
        """At most so many of a map's messages are live."""
        ended = sum(task.status not in ("queued", "started") for task in state.tasks)
        upto = min(len(state.tasks), state.step.max_parallel + ended)
        for task in state.tasks[state.sent : upto]:
            task.visible = at
        state.sent = max(state.sent, upto)

    def _is_stopped(self) -> bool:
        failed = self._failed() if self.fail_fast else None
        if failed:
            self.end("failed", failed)
        return failed is not None

    def _failed(self) -> State | None:
        """A step whose failure nobody handled and nobody can any more."""
        for slug, state in self.states.items():
            catchers = self._catchers(slug)
            over = all(c.status in TERMINAL and c.status != "completed" for c in catchers)
            if state.status == "failed" and over:
                return state
        return None

    def _catchers(self, slug: str) -> list[State]:
        """The steps that ask for its failure."""
        return [state for state in self.dependents(slug) if state.step.deps[slug] != "success"]

    def end(self, status: str, why: State | None = None) -> None:
        """Failed or cancelled: what is live ends with the run."""
        self.status = status
        if why is not None and why.error is not None:
            self.error = {"type": why.error["type"], "step": why.step.slug}
        for state in self.states.values():
            state.end_tasks("cancelled")
            if state.status not in TERMINAL:
                state.status = "cancelled"

    def dependents(self, slug: str) -> list[State]:
        """The steps that wait for this one."""
        return [state for state in self.states.values() if slug in state.step.deps]

    def environment(self, expression: Expression) -> dict[str, Any]:
        """Each path the expression names, and what is there."""
        return {path: self._at(path.split(".")) for path in expression.paths}

    def _at(self, parts: list[str]) -> Any:
        value: Any = {
            "input": self.input,
            "steps": {slug: state.names() for slug, state in self.states.items()},
        }
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        return value
