"""The mark of a run changes with what its snapshot shows, and not otherwise."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.engine.costs import Meter
from tests.engine.driver import Engine, a_child, a_step, a_wait, done, failed, path
from tests.engine.history import complete_runs

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = {
    "each": a_step(map=path("input.items"), max_parallel=2),
    "ask": a_wait("each", wait={"event": "go"}),
    "child": a_child("below", "ask", with_={"ast": ["dict"], "paths": []}),
}


class Watcher:
    """What a watcher of one run sees, before and after each action."""

    def __init__(self, engine: Engine, run: str) -> None:
        self.engine, self.run = engine, run
        self.seen = self.look()

    def look(self) -> tuple[str, str]:
        """The mark, and the snapshot without what changes by itself."""
        snapshot = self.engine.snapshot(self.run)
        shown = {key: snapshot[key] for key in ("run", "steps", "errors")}
        marks = self.engine.call("run_marks", [self.run])
        return marks[self.run], json.dumps(shown, sort_keys=True)

    def after(self, action: Callable[[], Any]) -> Any:
        """Act; the mark has changed exactly if the snapshot has."""
        result = action()
        before, self.seen = self.seen, self.look()
        assert (before[0] != self.seen[0]) == (before[1] != self.seen[1]), (before, self.seen)
        return result


def test_a_mark_changes_exactly_when_the_snapshot_does(engine: Engine) -> None:
    """Claims, leases, failures, retries, logs, progress, waits, children, cancel and retry."""
    engine.deploy("below", {"work": a_step()})
    engine.deploy("top", STEPS, input={"items": {"type": "array"}})
    run = engine.start("top", {"items": [1, 2, 3]})
    watcher = Watcher(engine, run)
    after = watcher.after
    progress = {"lines": [], "progress": [{"run": run, "step": "each", "index": 0, "fence": 1}]}
    progress["progress"][0] |= {"done": 0.5, "words": "half"}

    first, second = after(lambda: engine.claim("top"))
    after(lambda: engine.heartbeat(first, second, lease="90 s"))
    after(lambda: engine.claim("top"))
    after(lambda: engine.call("write_logs", engine.worker, json.dumps(progress)))
    after(lambda: engine.report(failed(first, "retry_later", delay_ms=0)))
    after(lambda: engine.report(done(second)))
    after(lambda: engine.start("top", {"items": [4]}))
    for _ in range(4):
        tasks = [task for task in after(lambda: engine.claim("top")) if task["run"] == run]
        after(partial(engine.report, *map(done, tasks)))
    assert engine.statuses(run)["ask"] == "waiting"
    engine.call("send_event", run, "other")  # that no step waits for: the mark may change
    watcher.seen = watcher.look()
    after(lambda: engine.call("send_event", run, "go"))
    after(lambda: engine.claim("nobody"))
    assert engine.statuses(run)["child"] == "waiting"
    after(lambda: engine.call("cancel_run", run))
    engine.work_on("below", "top")
    watcher.seen = watcher.look()
    assert engine.status(run) == "cancelled"
    after(lambda: engine.call("retry_run", run))
    after(lambda: engine.call("sweep"))


def test_lines_of_a_step_change_its_mark(engine: Engine) -> None:
    """The page of a run shows them as they come, the last ones perhaps after its end."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")})
    run = engine.start("flow")
    (task,) = engine.claim("flow")
    marks = [engine.call("run_marks", [run])]

    def write(part: int) -> None:
        line = {"run": run, "step": "a", "index": 0, "attempt": 1, "fence": 1, "part": part}
        logs = {"lines": [line | {"lines": [[0, "info", "app", "hello"]]}], "progress": []}
        engine.call("write_logs", engine.worker, json.dumps(logs))
        marks.append(engine.call("run_marks", [run]))

    write(0)
    engine.report(done(task))
    marks.append(engine.call("run_marks", [run]))
    write(1)

    assert len({mark[run] for mark in marks}) == 4


def test_a_signal_that_comes_early_changes_the_mark(engine: Engine) -> None:
    """The page shows that the step is decided, though it is not reached, and offers it no more."""
    engine.deploy("flow", {
        "a": a_step(),
        "ask": a_wait("a", wait={"event": "x"}), "too": a_wait("a", wait={"event": "y"}),
    })  # fmt: skip
    watcher = Watcher(engine, engine.start("flow"))

    watcher.after(lambda: engine.call("approve_step", watcher.run, "ask", "fine", "ann"))
    watcher.after(lambda: engine.call("send_event", watcher.run, "y"))

    answers = [step["answer"] for step in engine.snapshot(watcher.run)["steps"]]
    assert [answer and answer["kind"] for answer in answers] == [None, "decision", "event"]


def test_each_run_has_its_own_mark_and_a_missing_one_has_none(engine: Engine) -> None:
    """A run that was deleted meanwhile is absent, and hinders no other."""
    engine.deploy("flow", {"a": a_step()})
    runs = [engine.start("flow") for _ in range(2)]

    marks = engine.call("run_marks", [*runs, runs[0], str(uuid4())])

    assert set(marks) == set(runs)
    assert len(set(marks.values())) == 2
    assert engine.call("run_marks", []) == {}


def test_marks_read_only_the_runs_that_are_watched(engine: Engine) -> None:
    """Fifty runs, beside a crowd of others: by their keys, whatever the statistics say."""
    slug = engine.deploy("flow", {"a": a_step(), "b": a_step("a")})["flow_slug"]
    runs = [engine.start("flow") for _ in range(50)]
    engine.claim("flow")
    meter = Meter(engine)
    meter.call("alone", "run_marks", runs)
    complete_runs(engine, slug, 20_000)
    meter.call("crowded", "run_marks", runs)
    engine.db.execute("analyze")
    meter.call("analyzed", "run_marks", runs)

    alone = meter.costs["alone"]
    for when in ("crowded", "analyzed"):
        cost = meter.costs[when]
        assert (cost.scans, cost.rows <= alone.rows * 1.1) == (0, True), (when, alone, cost)
        assert cost.pages <= alone.pages * 1.5
