"""One game of the model test: each action on the engine and on the model, then compared."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest

from tests.engine.driver import Engine, a_step, a_wait
from tests.engine.worker_model import Model

if TYPE_CHECKING:
    from pgflow_yaml.language.expressions import Expression
    from tests.engine.driver import Task
    from tests.engine.flow_model import Run
    from tests.engine.flow_states import State, Step
    from tests.engine.worker_model import Key

EPOCH = datetime(2100, 1, 1, tzinfo=UTC)
OUTPUTS: list[Any] = [None, 0, 2, [], [1, 2], {"n": [5, 6]}, {"n": 3}, "x"]
OUTCOMES = (
    ["completed"] * 4 + ["failed"] * 3 + ["fatal"] * 3 + ["retry_later", "released", "crashed"]
)
TICKS = [1000, 4000, 10_000, 31_000, None, None]
ROWS = f"""
    with mine as (select r.* from pgflow.runs r where r.run_id = any(%s))
    select jsonb_build_object(
      'runs', (select jsonb_object_agg(r.run_id, jsonb_build_array(
          r.status, r.output, r.error ->> 'type')) from mine r),
      'steps', (select jsonb_object_agg(s.run_id || '/' || s.step_slug, jsonb_build_array(
          s.status, s.skip_reason, s.output, s.error ->> 'type', (s.error ->> 'attempts')::int))
        from pgflow.step_states s join mine using (run_id)),
      'tasks', (select coalesce(jsonb_object_agg(
          t.run_id || '/' || t.step_slug || '/' || t.task_index, jsonb_build_array(
          t.status, t.item, t.output, t.attempts_count, t.uncounted, t.crashes_count,
          t.iteration)), '{{}}')
        from pgflow.step_tasks t join mine using (run_id)
        where t.status <> 'cancelled' or t.attempts_count > 0),
      'messages', (select coalesce(jsonb_object_agg(
          concat_ws('/', q.message ->> 'run_id', q.message ->> 'step_slug',
                    q.message ->> 'task_index'),
          round(extract(epoch from greatest(q.vt, pgflow.clock()) - '{EPOCH}') * 1000)), '{{}}')
        from pgmq.q_flow q))
"""


class Action(NamedTuple):
    """What happens next; the numbers choose among what is there."""

    kind: str
    worker: int
    pick: int
    number: int


class Play:
    """Three workers on one flow; `seen` counts the situations that came up."""

    def __init__(
        self, engine: Engine, flow: list[Step], run_input: dict[str, Any], *, fail_fast: bool
    ) -> None:
        self.engine, self.flow, self.input, self.fail_fast = engine, flow, run_input, fail_fast
        self.workers = [Engine(engine.db) for _ in range(3)]
        self.handed: list[tuple[int, Task]] = []
        self.model, self.seen = Model(), Counter[str]()
        self._set_clock(0)
        self._deploy()
        self._start()

    def act(self, action: Action) -> None:
        """Do it on both sides; then both must say the same."""
        getattr(self, f"_{action.kind}")(action)
        self.compare()

    def drain(self) -> None:
        """Work on until every run has ended."""
        rounds = 0
        while any(run.status == "started" for run in self.model.runs.values()):
            rounds += 1
            assert rounds < 200, "the run does not end"
            self.act(Action("work", rounds % 3, rounds % 2, 2))
            due = self.model.due()
            self._set_clock(max(self.model.now, min(due, default=self.model.now + 31_000)))
            if not due:
                self.act(Action("sweep", 0, 0, 0))
        for run in self.model.runs.values():
            self.seen[f"run {run.status}: {(run.error or {}).get('type')}"] += 1
            for state in run.states.values():
                if run.stopping is not None and not state.step.is_final:
                    left = "left" if state.step.slug in run.stopping else "open"
                    self.seen[f"recovery: {left} step {state.status}"] += 1
                kind = f"finally of a {run.outcome} run" if state.step.is_final else "step"
                self.seen[f"{kind} {state.status}: {state.reason}"] += 1
                if (run.status, state.status) == ("completed", "failed"):
                    self.seen["failure handled"] += 1
                pages = not state.step.handles and state.status == "completed"
                if (
                    pages
                    and run.status == "failed"
                    and set(state.step.deps.values()) != {"success"}
                ):
                    self.seen["failure left unhandled"] += 1
                if state.status == "completed" and any(task.error for task in state.tasks):
                    self.seen["item tolerated"] += 1
        assert self.engine.violations() == []

    def clear(self) -> None:
        """Leave nothing for the next game, whatever went wrong."""
        # The checks of the invariants read all there is: what is left makes each game slower.
        self.engine.db.execute("truncate pgflow.runs cascade")
        self.engine.db.execute("truncate pgmq.q_flow")

    def compare(self) -> None:
        """Every row and every message."""
        rows = self.engine.one(ROWS, list(self.model.runs))
        for name, run in self.model.runs.items():
            self._allow(name, run, rows)
        for what, said in self._said().items():
            found = rows[what]
            differ = [key for key in said | found if said.get(key) != found.get(key)]
            assert not differ, f"{what}: " + "; ".join(
                f"{key} is {found.get(key)}, the model says {said.get(key)}" for key in differ
            )

    def _allow(self, name: str, run: Run, rows: dict[str, Any]) -> None:
        """Put into the rows what the model says, where nobody promises one thing or the other."""
        edges = {edge for step in self.flow for edge in step.deps.values()}
        at_once = self.fail_fast and edges <= {"success"} and not self.flow[-1].is_final
        failed = [s for s in run.states.values() if s.status == "failed"]
        last = max((s.failed_at for s in failed), default=0)
        kinds = {_kind(s.error) for s in failed if at_once or s.failed_at == last}
        for slug, state in run.states.items():
            row = rows["steps"][f"{name}/{slug}"]
            if state.step.is_tolerant and state.error:
                kinds |= {row[3]}  # which of its failed items it quotes
                row[3:] = state.error["type"], state.error["attempts"]
            if at_once and run.outcome == "failed" and not state.tasks:
                kinds |= {row[3]}
                row[:] = _row(state)  # what becomes of what never began
        if rows["runs"][name][2] in kinds:
            rows["runs"][name][2] = _kind(run.error)  # which of several failures in one batch

    def _said(self) -> dict[str, dict[str, Any]]:
        runs, due, now = self.model.runs.items(), self.model.visible(), self.model.now
        return {
            "runs": {name: [run.status, run.output, _kind(run.error)] for name, run in runs},
            "steps": {
                f"{name}/{slug}": _row(state)
                for name, run in runs for slug, state in run.states.items()
            },
            "tasks": {
                f"{name}/{slug}/{index}": [
                    task.status, task.item, task.output,
                    task.attempts, task.uncounted, task.crashes, task.iteration,
                ]
                for name, run in runs for slug, state in run.states.items()
                for index, task in enumerate(state.tasks)
                if task.status != "cancelled" or task.attempts
            },
            "messages": {"/".join(map(str, key)): max(at, now) for key, at in due.items()},
        }  # fmt: skip

    def _deploy(self, extra: int = 0) -> None:
        steps = {step.slug: _written(step, extra) for step in self.flow if not step.is_final}
        finals = {step.slug: _written(step, extra) for step in self.flow if step.is_final}
        keys: dict[str, Any] = {} if self.fail_fast else {"fail_fast": False}
        keys |= {"finally_": finals} if finals else {}
        self.engine.deploy("flow", steps, input={"flag": {"type": "boolean"}, "list": {}}, **keys)

    def _set_clock(self, now: int) -> None:
        self.model.now = now
        self.engine.now(str(EPOCH + timedelta(milliseconds=now)))

    def _start(self, action: Action | None = None) -> None:
        if action is None or len(self.model.runs) < 3:
            run = self.engine.start("flow", self.input)
            self.model.start(run, self.flow, self.input, fail_fast=self.fail_fast)

    def _turn(self, action: Action) -> None:
        self._one_turn(action.worker, [], (1, 2, 100)[action.number % 3])

    def _work(self, action: Action) -> None:
        tasks = self._one_turn(action.worker, [], 100)
        outcomes = ["completed", "failed", "completed", "completed", "fatal"]
        reports = [
            self._result(task, outcomes[(action.pick + n) % 5], action.number + n)
            for n, task in enumerate(tasks)
        ]
        self._one_turn(action.worker, reports, 0)

    def _report(self, action: Action) -> None:
        me, pick, size = self.workers[action.worker].worker, action.pick, action.pick % 4 + 1
        mine = [task for worker, task in self.handed if worker == action.worker]
        live = [task for task in mine if self.model.holds(me, _key(task), task["attempt"])]
        pools = [live or mine, live or mine, mine]
        chosen = [_nth(pools[(action.number + n) % 3], action.pick * (n + 1)) for n in range(size)]
        if action.number % 5 == 0:
            chosen = [task for task in mine if chosen[0] and _key(task) == _key(chosen[0])]
        reports = [
            self._result(task, OUTCOMES[(action.number + n * pick) % len(OUTCOMES)], pick)
            for n, task in enumerate(chosen)
            if task
        ]
        self._one_turn(action.worker, reports, action.pick % 2 * 100)

    def _result(self, task: Task, outcome: str, number: int) -> Task:
        breaks = any(step.breaks for step in self.flow if step.slug == task["step"])
        return _report(task, "fatal" if breaks else outcome, number)

    def _crash(self, action: Action) -> None:
        """A worker falls silent, the next one too, and so on."""
        for n in range(action.number % 6):
            due = [at for key, at in self.model.visible().items() if self.model.task(key).attempts]
            self._set_clock(max(self.model.now, min(due, default=0)))
            self._one_turn((action.worker + n) % 3, [], 100)
            self.compare()

    def _one_turn(self, worker: int, reports: list[Task], quantity: int) -> list[Task]:
        me = self.workers[worker]
        doomed = [k[0] for k in self.model.visible() if self.model.is_last_crash(k, me.worker)]
        if len(doomed) > len(set(doomed)):
            quantity = 0  # which of two ends their run first is nobody's promise
        said = self.model.settle(me.worker, reports)
        lease = 10_000 if quantity == 2 else 30_000
        if quantity:
            for run in self.model.runs.values():
                run.run_timers(self.model.now)
        read = [key for key, at in self.model.visible().items() if at <= self.model.now]
        if doomed or any(self.model.is_stopping(k) or self.model.task(k).crashes for k in read):
            quantity *= 100  # for these are read, and not given

        reply = me.turn(*reports, queue="flow", quantity=quantity, lease=f"{lease} ms")

        assert reply["verdicts"] == said
        for report, verdict in zip(reports, said, strict=True):
            self.seen[f"report {report['outcome']}: {verdict}"] += 1
        tasks: list[Task] = reply["tasks"]
        got = [_key(task) for task in tasks]
        if len(read) > quantity:
            assert len(got) == quantity
            assert set(got) <= set(read)
            read = got
        for key in read:
            self.seen[f"read {self.model.task(key).status}"] += 1
        claimed = self.model.claim(me.worker, lease, read, got)
        assert {(_key(task), task["attempt"]) for task in tasks} == claimed
        self.handed += [(worker, task) for task in tasks]
        return tasks

    def _tick(self, action: Action) -> None:
        step = TICKS[action.number % len(TICKS)]
        later = [at for at in self.model.due() if at > self.model.now]
        self._set_clock(self.model.now + step if step else min(later, default=self.model.now))

    def _beat(self, action: Action) -> None:
        me = self.workers[action.worker]
        mine = [task for worker, task in self.handed if worker == action.worker]
        unique = {(_key(task), task["attempt"]): task for task in mine[-4:]}

        reply = me.heartbeat(*unique.values())

        told = {
            (_key(task), task["attempt"]): verdict for verdict in reply for task in reply[verdict]
        }
        for key, attempt in unique:
            said = self.model.beat(me.worker, 30_000, key, attempt)
            self.seen[f"heartbeat {said}"] += 1
            assert told.get((key, attempt), "held") == said

    def _redeliver(self, action: Action) -> None:
        if key := self._message(action.pick):
            self._by_hand(key, "update pgmq.q_flow set vt = pgflow.clock()")
            self.model.task(key).visible = self.model.now

    def _lose(self, action: Action) -> None:
        if key := self._message(action.pick):
            self._by_hand(key, "delete from pgmq.q_flow")
            self.model.task(key).lost = True

    def _sweep(self, _action: Action) -> None:
        lost = self.model.lost()
        assert self.engine.call("sweep") == len(lost)
        for task in lost:
            task.visible, task.lost = self.model.now, False
        self.seen["message lost and sent again"] += len(lost)

    def _cancel(self, action: Action) -> None:
        name = list(self.model.runs)[action.pick % len(self.model.runs)]
        run = self.model.runs[name]
        if action.number % 4 == 0:
            reply = self.engine.call("cancel_run", name)
            assert reply["cancelled"] == (run.status == "started")
            if run.status == "started":
                self.seen[f"cancel of a run with outcome {run.outcome}"] += 1
                run.cancel(self.model.now)

    def _retry(self, action: Action) -> None:
        name = list(self.model.runs)[action.pick % len(self.model.runs)]
        run, mode = self.model.runs[name], ("all", "soft", "from", "step")[action.number % 4]
        self._learn(name, run)
        slugs = sorted(run.states)
        some = {slugs[action.worker % len(slugs)], slugs[action.number % len(slugs)]}
        broken = {s for s in slugs if run.states[s].status in ("failed", "cancelled")}
        some = some & (broken | run.softened()) if mode == "step" else some
        chosen = run.retryable(soft=mode == "soft") if mode in ("all", "soft") else some
        named = [sorted(some) if mode == named else None for named in ("step", "from")]
        if mode == "step" and not some:
            return
        if run.status == "started" or (run.status == "completed" and not chosen):
            with pytest.raises(psycopg.Error) as error:
                self.engine.call("retry_run", name, *named, mode == "soft")
            assert error.value.sqlstate == "PF005"
            return
        before = {slug: run.states[slug].status for slug in slugs}
        self.seen[f"retry of a {run.status} run: {mode}"] += 1

        reply = self.engine.call("retry_run", name, *named, mode == "soft")

        resumed = run.retry(chosen, some if mode == "from" else set(), self.model.now)
        assert set(reply["completed_again"]) == {
            slug for slug in reply["again"]
            if before[slug] == "completed" and not run.states[slug].step.is_final
            and slug not in resumed
        }  # fmt: skip
        kept = {
            slug: {"kept": kept, "total": len(run.states[slug].tasks)}
            for slug in resumed if run.states[slug].step.is_map
            and (kept := sum(t.status == "completed" for t in run.states[slug].tasks))
        }  # fmt: skip
        assert reply["items_kept"] == kept
        self.seen["retry that keeps items"] += bool(kept)
        self.seen["retry that leaves a failure"] += bool(run.left)

    def _learn(self, name: str, run: Run) -> None:
        """What became of steps that never began in a run that failed at once: see _allow."""
        rows = self.engine.one(ROWS, [name])["steps"]
        for slug, state in run.states.items():
            if not state.tasks and run.status == "failed" and state.status != "failed":
                state.status, state.reason = rows[f"{name}/{slug}"][:2]
                state.cut |= state.reason == "dependency_skipped"

    def _send(self, action: Action) -> None:
        name = list(self.model.runs)[action.pick % len(self.model.runs)]
        run, event = self.model.runs[name], ("go", "stop")[action.number % 2]
        data = OUTPUTS[action.number % len(OUTPUTS)]
        if run.status == "started":
            reply = self.engine.call("send_event", name, event, json.dumps(data))
            steps = run.send(event, data, self.model.now)
            assert sorted(reply["steps"]) == sorted(steps)
            self.seen["event completed a step"] += bool(steps)

    def _redeploy(self, action: Action) -> None:
        if action.number % 2:
            self._deploy(extra=action.pick)

    def _message(self, pick: int) -> Key | None:
        keys = list(self.model.visible())
        return keys[pick % len(keys)] if keys else None

    def _by_hand(self, key: Key, change: str) -> None:
        self.engine.db.execute(
            f"{change} where message @> %s::jsonb".encode(),
            [json.dumps({"run_id": key[0], "step_slug": key[1], "task_index": key[2]})],
        )


def _row(state: State) -> list[Any]:
    kind, attempts = _kind(state.error), state.error and state.error["attempts"]
    return [state.status, state.reason, state.output, kind, attempts]


def _kind(error: dict[str, Any] | None) -> Any:
    return error and error["type"]


def _key(task: Task) -> Key:
    return task["run"], task["step"], task["index"]


def _nth(tasks: list[Task], number: int) -> Task | None:
    return tasks[number % len(tasks)] if tasks else None


def _report(task: Task, outcome: str, number: int) -> Task:
    report = {key: task[key] for key in ("run", "step", "index", "attempt")} | {"outcome": outcome}
    if outcome == "completed":
        return report | {"output": OUTPUTS[number % len(OUTPUTS)]}
    if outcome == "retry_later":
        report |= {"delay_ms": 7000}
    kind = "ExpressionError" if number % 8 == 0 else "Broken"
    return report | {"error": {"type": kind, "message": "it broke"}}


def _written(step: Step, extra: int) -> dict[str, Any]:
    optional: dict[str, Any] = {
        "map": _expression(step.items),
        "initial_tasks": step.count,
        "max_parallel": step.max_parallel if step.is_map else None,
        "fail_fast": None if step.fail_fast else False,
        "tolerate": step.tolerate if step.percent is None else {"percent": step.percent},
        "if": _expression(step.condition),
        "handles": None if step.handles else False,
    }
    if step.until is not None:
        until = _expression(step.until)
        optional["repeat"] = {"until": until, "every": step.every, "max": step.most_calls}
    if step.event:
        wait = {"event": step.event, "timeout": step.timeout}
        written = a_wait(when_unmet=step.when_unmet, when_exhausted=step.when_exhausted, wait=wait)
        written |= {"depends_on": step.deps}
        kept = {key: optional[key] for key in ("if", "handles") if optional[key] is not None}
        return written | kept
    written = a_step(
        retry={"max_attempts": step.max_attempts, "base_delay": step.base_delay},
        timeout=step.timeout,
        start_delay=step.start_delay,
        when_unmet=step.when_unmet,
        when_exhausted=step.when_exhausted,
    )
    written |= {"depends_on": step.deps, "handler": f"app.work{extra}"}
    return written | {key: value for key, value in optional.items() if value is not None}


def _expression(found: Expression | None) -> dict[str, Any] | None:
    return None if found is None else {"ast": found.ast, "paths": found.paths}
