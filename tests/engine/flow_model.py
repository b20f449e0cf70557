"""The rules of a deployed flow, said once more, plainly, from the language's reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.expressions import ExpressionError, evaluate
from tests.engine.flow_states import State, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgflow_yaml.language.expressions import Expression
    from tests.engine.flow_states import Step

TERMINAL = ("completed", "failed", "skipped", "cancelled")
# How a dependency ended, and which edges that meets; "cut" is skipped: upstream.
MET = {
    "success": ("completed", "skipped"),
    "failure": ("failed",),
    "any": ("completed", "skipped", "cut", "failed", "cancelled"),
}


class Run:
    """One run of a flow."""

    def __init__(
        self, flow: list[Step], run_input: dict[str, Any], now: int, *, fail_fast: bool = True
    ) -> None:
        self.input, self.fail_fast, self.status = run_input, fail_fast, "started"
        self.outcome: str | None = None  # known before the steps of finally have run
        self.cancelled = False
        self.output: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.events: dict[str, Any] = {}
        self.stopping: set[str] | None = None  # the steps that recovery has left behind
        self.retries, self.left = 0, set[str]()  # failures that a retry has left
        self.states = {step.slug: State(step) for step in flow}
        self.advance(now)

    def close(self, touched: Iterable[str], now: int) -> None:
        """All rows of a batch are settled: judge the steps, then the run, then go on."""
        for state in (self.states[slug] for slug in touched):
            self._judge(state, now)
        self._end_stopped()
        self.advance(now)

    def send(self, event: str, data: Any, now: int) -> list[str]:
        """An event, the first of its name: the steps that it completes."""
        waiting = [s for s in self.waiting() if s.step.event == event]
        if event in self.events:
            return []
        self.events[event] = data
        for state in waiting:
            state.status, state.output = "completed", data
        if waiting:
            self.advance(now)
        return [state.step.slug for state in waiting]

    def run_timers(self, now: int) -> None:
        """The waits that are over, each alone."""
        for state in sorted(self.waiting(), key=lambda state: state.due or 0):
            if state.status == "started" and (state.due or 0) <= now:
                self._exhaust(state, "WaitTimeout", 0, now)
                self.advance(now)

    def waiting(self) -> list[State]:
        """The steps that wait for an event."""
        return [s for s in self.states.values() if s.step.event and s.status == "started"]

    def _judge(self, state: State, now: int) -> None:
        step, statuses = state.step, [task.status for task in state.tasks]
        spent = [task for task in state.tasks if task.status == "failed"]
        open_ones = not {"queued", "started", "cancelled"}.isdisjoint(statuses)
        may = step.tolerate or int((step.percent or 0) * len(statuses) / 100)
        if len(spent) > may and (step.fail_fast or not open_ones):
            task = spent[0]
            self._exhaust(state, str(task.error), task.attempts - task.uncounted, now)
        elif self.is_stopping(step):
            if {*statuses} <= {"completed", "failed"}:
                self._complete(state)
        elif not open_ones:
            self._complete(state)
        else:
            self._send(state, now)

    @staticmethod
    def _complete(state: State) -> None:
        outputs = [task.output for task in state.tasks]
        state.status, state.output = "completed", outputs if state.step.is_map else outputs[0]

    def is_stopping(self, step: Step) -> bool:
        """Whether its tasks are told to stop: only finally, or recovery, is to come."""
        left = self.stopping is not None and step.slug in self.stopping
        return left or (self.outcome is not None and not step.is_final)

    def _end_stopped(self) -> None:
        for state in self.states.values():
            if self.is_stopping(state.step) and state.status not in TERMINAL:
                live = [task for task in state.tasks if task.status in ("queued", "started")]
                state.status = state.status if live else "cancelled"

    def _exhaust(self, state: State, kind: str, attempts: int, now: int) -> None:
        if state.step.when_exhausted == "fail" or (
            kind == "ExpressionError" and not state.step.is_tolerant
        ):
            state.fails(kind, now, attempts)
            return
        state.skips("handler_failed", cut=state.step.when_exhausted == "skip-cascade")
        state.error = {"type": kind, "attempts": attempts}

    def advance(self, now: int) -> None:
        """Go on: the steps, then what the run has come to, then the steps of finally."""
        mains = self._mains()
        finals = [state for state in self.states.values() if state.step.is_final]
        if self.outcome is None and not self._begin(mains, now):
            return
        if any(state.status not in TERMINAL for state in mains):
            return
        if self.outcome in (None, "cancelled") and (failed := self._failed()):
            self._fail(failed)
        elif self.outcome is None and (gone := self._left_cancelled()):
            self.outcome = "failed"
            self.error = {"type": "Cancelled", "step": gone.step.slug}
        elif self.outcome is None:
            leaves = [state for state in mains if not self._followed(state.step.slug)]
            self.output = {s.step.slug: s.output for s in leaves if s.status == "completed"}
            self.outcome = "completed"
        self._begin(finals, now)
        if broken := _last([state for state in finals if state.status == "failed"]):
            self._fail(broken)
        if all(state.status in TERMINAL for state in finals):
            self.status = str(self.outcome)
            self.output = self.output if self.status == "completed" else None

    def _begin(self, states: list[State], now: int) -> bool:
        """Look at steps until nothing more ends, then begin those that may; false: stopped."""
        beginning: dict[str, list[Any]] = {}
        while True:
            self._look_at(states, beginning, now)
            failed = self._failed(self.left) if self.fail_fast and self.outcome is None else None
            if not failed:
                break
            recovery = self._recovery()
            open_ones = {s.step.slug for s in self._mains() if s.status not in TERMINAL}
            if not recovery & open_ones:
                self._fail(failed)
                self.stop("failed", now)
                return False
            if self.stopping is not None:
                break
            self.stopping = open_ones - recovery
            self._tell_to_stop()
        for slug, items in beginning.items():
            state = self.states[slug]
            if state.status == "created":
                state.status = "started"
                state.tasks = [
                    Task(item, attempts=state.past, uncounted=state.past) for item in items
                ]
                self._send(state, now + state.step.start_delay)
        return True

    def _look_at(self, states: list[State], beginning: dict[str, list[Any]], now: int) -> None:
        looking = True
        while looking:
            looking = False
            for state in states:
                if state.status != "created" or state.step.slug in beginning:
                    continue
                items = self._look(state, now)
                looking = looking or items is not None or state.status != "created"
                if items:
                    beginning[state.step.slug] = items

    def _recovery(self) -> set[str]:
        """The steps behind an edge that asks for a failure that was, and all behind them."""
        failed = [slug for slug, state in self.states.items() if state.status == "failed"]
        found, new = set[str](), {c.step.slug for slug in failed for c in self._catchers(slug)}
        while new:
            found |= new
            new = {d.step.slug for slug in new for d in self.dependents(slug)} - found
        return found

    def _look(self, state: State, now: int) -> list[Any] | None:
        """The items of the tasks it begins with; none: it has ended, or waits."""
        step = state.step
        deps = [self.states[slug] for slug in step.deps]
        ended = {dep.step.slug: dep.outcome for dep in deps if dep.status in TERMINAL}
        if any(how not in MET[step.deps[slug]] for slug, how in ended.items()):
            state.skips("dependency_skipped", cut=True)
            return None
        if len(ended) < len(step.deps):
            return None
        nothing_ran = step.deps and not {"completed", "failed"} & set(ended.values())
        if nothing_ran and "any" not in step.deps.values():
            state.skips("dependency_skipped", cut=True)
            return None
        return self._items(state, now) if self._holds(state, now) else None

    def _holds(self, state: State, now: int) -> bool:
        if state.step.condition is None:
            return True
        try:
            if evaluate(state.step.condition.ast, self.environment(state.step.condition)):
                return True
        except ExpressionError:
            state.fails("ExpressionError", now)
            return False
        if state.step.when_unmet == "fail":
            state.fails("ConditionUnmet", now)
        else:
            state.skips("condition_unmet", cut=state.step.when_unmet == "skip-cascade")
        return False

    def _items(self, state: State, now: int) -> list[Any] | None:
        step = state.step
        if step.event:
            state.status, state.due = "started", now + step.timeout
            if step.event in self.events:
                state.status, state.output = "completed", self.events[step.event]
            return None
        if step.items is None:
            return [None] * (step.count or 1)
        try:
            items = evaluate(step.items.ast, self.environment(step.items))
        except ExpressionError:
            items = "an error"
        if items is not None and not isinstance(items, list):
            state.fails("ExpressionError", now)
        elif not items:
            state.status, state.output = "completed", []
        else:
            return items
        return None

    def _send(self, state: State, at: int) -> None:
        """At most so many of a map's messages are live."""
        live = sum(task.status in ("queued", "started") for task in state.tasks[: state.sent])
        while live < state.step.max_parallel and state.sent < len(state.tasks):
            task = state.tasks[state.sent]
            if task.status == "queued":
                task.visible, live = at, live + 1
            state.sent += 1

    def _fail(self, why: State) -> None:
        self.outcome = "failed"
        self.error = {**(why.error or {}), "step": why.step.slug}

    def _left_cancelled(self) -> State | None:
        """A step that was cancelled, in a run that goes on without it after a retry."""
        gone = [state for state in self._mains() if state.status == "cancelled"]
        return gone[0] if self.retries and gone else None

    def _failed(self, besides: Iterable[str] = ()) -> State | None:
        """The last step whose failure nobody handled and nobody can any more."""
        return _last([s for s in self.unhandled() if s.step.slug not in besides])

    def unhandled(self) -> list[State]:
        """The steps whose failure nobody handled and nobody can any more."""
        unhandled = []
        for state in self._mains():
            catchers = [c for c in self._catchers(state.step.slug) if c.step.handles]
            over = all(c.status in TERMINAL and c.status != "completed" for c in catchers)
            if state.status == "failed" and over:
                unhandled.append(state)
        return unhandled

    def _mains(self) -> list[State]:
        return [state for state in self.states.values() if not state.step.is_final]

    def _catchers(self, slug: str) -> list[State]:
        """The steps that ask for its failure."""
        return [state for state in self.dependents(slug) if state.step.deps[slug] != "success"]

    def stop(self, outcome: str, now: int) -> None:
        """Failed or cancelled: nothing more starts, what runs is told, then come the finals."""
        self.outcome = outcome
        if not any(state.step.is_final for state in self.states.values()):
            self.end(outcome)
            return
        self._tell_to_stop()
        self.advance(now)

    def _tell_to_stop(self) -> None:
        for state in self.states.values():
            for task in state.tasks:
                if self.is_stopping(state.step) and task.status == "queued":
                    task.ends("cancelled")
        self._end_stopped()

    def cancel(self, now: int) -> None:
        """A first cancel stops the run, or leaves it its finals; a second one ends it."""
        first, self.cancelled = not self.cancelled, True
        if first and self.outcome is not None:
            return
        self.error = self.error or {"type": "Cancelled"}
        if first:
            self.stop("cancelled", now)
        else:
            self.end("failed" if self.outcome == "failed" else "cancelled")

    def end(self, status: str) -> None:
        """What is live ends with the run."""
        self.status, self.output = status, None
        for state in self.states.values():
            state.end_tasks("cancelled")
            if state.status not in TERMINAL:
                state.status = "cancelled"
        if status == "cancelled" and (failed := self._failed()):
            self._fail(failed)
            self.status = "failed"

    def retry(self, chosen: set[str], begun: set[str], now: int) -> list[str]:
        """Begin again with these steps, those of `begun` from the start; the steps that resume."""
        again, new = set[str](), chosen | begun
        while new:
            again |= new
            new = {d.step.slug for slug in new for d in self.dependents(slug)} - again
        resumed = [
            state
            for state in self._mains()
            if state.step.slug in chosen - begun
            and not again & set(state.step.deps)
            and any(task.status != "completed" for task in state.tasks)
        ]
        for state in self.states.values():
            if state.step.is_final or (state.step.slug in again and state not in resumed):
                state.forget()
        for state in resumed:
            state.resume()
        self.left = {slug for slug, state in self.states.items() if state.status == "failed"}
        self.status, self.outcome, self.output, self.error = "started", None, None, None
        self.cancelled, self.stopping, self.retries = False, None, self.retries + 1
        for state in resumed:
            self._send(state, now)
        self.advance(now)
        return [state.step.slug for state in resumed]

    def retryable(self, *, soft: bool) -> set[str]:
        """What a retry is about if no step is named."""
        chosen = {s.step.slug for s in self._mains() if s.status == "cancelled"}
        chosen |= {state.step.slug for state in self.unhandled()}
        return chosen | (self.softened() if soft else set())

    def softened(self) -> set[str]:
        """The steps that went on in spite of failures."""
        return {
            slug
            for slug, state in self.states.items()
            if state.reason == "handler_failed"
            or (state.status == "completed" and any(t.status == "failed" for t in state.tasks))
        }

    def dependents(self, slug: str) -> list[State]:
        """The steps that wait for this one."""
        return [state for state in self.states.values() if slug in state.step.deps]

    def _followed(self, slug: str) -> bool:
        """Whether a step goes on where this one completes."""
        return any(state.step.deps[slug] == "success" for state in self.dependents(slug))

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


def _last(failed: list[State]) -> State | None:
    """The one that failed last; of several at a time, the last in the file."""
    return max(reversed(failed), key=lambda state: state.failed_at, default=None)
