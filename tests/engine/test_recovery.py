"""Recovery outlives `fail_fast`: what hangs on a failed step by `failure` or `any`, and follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.compiled import Compiled
from tests.engine.driver import a_step, done, failed, literal

if TYPE_CHECKING:
    from tests.engine.driver import Engine

NOON, LATER = "2036-01-01 12:00:00Z", "2036-01-01 14:00:00Z"
AUDIT = "finally:\n  audit: {handler: app.ok}\n"
# `charge` fails and `undo` fails: with that no step can handle the failure of charge any more.
SAGA = """
flow: saga
timeout: 1h
defaults: {retry: 1}
steps:
  charge: {handler: app.broken}
  undo: {handler: app.broken, depends_on: {charge: failure}}
"""


@pytest.mark.parametrize("last", ["", AUDIT], ids=["alone", "before finally"])
def test_a_chain_of_recovery_goes_on_and_ordinary_steps_do_not(engine: Engine, last: str) -> None:
    """The step that reports a failed compensation runs, and so does what follows it."""
    flow = Compiled(engine, f"""{SAGA}
  report: {{handler: app.ok, depends_on: {{undo: failure}}}}
  close: {{handler: app.ok, depends_on: [report]}}
  slow: {{handler: app.ok}}
  later: {{handler: app.ok, depends_on: [slow]}}
{last}""")  # fmt: skip
    run = flow.start()

    flow.work(hold="slow")
    (slow,) = flow.held
    told = engine.heartbeat(slow)["stop"]
    engine.report(failed(slow, "released"))
    flow.work()

    assert [step for step in flow.ran if step not in ("slow", "audit")] == [
        "charge", "undo", "report", "close",
    ]  # fmt: skip
    assert [task["step"] for task in told] == ["slow"]
    assert engine.statuses(run) == {
        "charge": "failed", "undo": "failed", "report": "completed", "close": "completed",
        "slow": "cancelled", "later": "cancelled",
    } | ({"audit": "completed"} if last else {})  # fmt: skip
    shown = flow.shown(run)
    assert (shown["status"], shown["error"]["step"]) == ("failed", "charge")
    assert engine.violations() == []


def test_the_error_of_the_run_is_that_of_its_last_recovery_step(engine: Engine) -> None:
    """A recovery step that fails hard is the last unhandled failure."""
    flow = Compiled(engine, SAGA + "  report: {handler: app.broken, depends_on: {undo: failure}}\n")

    run = flow.run()

    shown = flow.shown(run)
    assert (shown["status"], shown["error"]["step"]) == ("failed", "report")


def test_finally_begins_when_recovery_has_ended(engine: Engine) -> None:
    """It waits for recovery, and for what was stopped, and sees all of it."""
    flow = Compiled(engine, SAGA + """
  report: {handler: app.ok, depends_on: {undo: failure}}
  slow: {handler: app.ok}
finally:
  audit: {handler: app.ok, if: "run.unhandled == ['charge']"}
""")  # fmt: skip
    run = flow.start()
    flow.work(hold="slow")
    during = engine.statuses(run)

    engine.report(failed(flow.held[0]))
    flow.work()

    assert (during["report"], during["slow"], during["audit"]) == (
        "completed", "started", "created",
    )  # fmt: skip
    assert engine.statuses(run)["audit"] == "completed"
    assert engine.status(run) == "failed"


def test_without_finally_the_run_ends_with_its_recovery(engine: Engine) -> None:
    """It does not wait for an ordinary task that was told to stop."""
    flow = Compiled(engine, SAGA + """
  report: {handler: app.ok, depends_on: {undo: failure}}
  slow: {handler: app.ok}
""")  # fmt: skip
    run = flow.start()

    flow.work(hold="slow")

    assert engine.statuses(run)["slow"] == "cancelled"
    assert engine.status(run) == "failed"
    assert engine.report(done(flow.held[0])) == ["run_terminal"]


@pytest.mark.parametrize(
    ("kind", "tasks"),
    [
        ("{handler: app.ok, map: '[1, 2, 3]', max_parallel: 1, depends_on: {undo: failure}}", 3),
        ("{handler: app.ok, start_delay: 30m, depends_on: {undo: failure}}", 1),
        ("{wait: {event: approved}, depends_on: {undo: failure}}", 0),
        ("{wait: {for: 30m}, depends_on: {undo: failure}}", 0),
        ("{flow: child, depends_on: {undo: failure}}", 0),
    ],
    ids=["map", "delay", "event", "time", "child"],
)
def test_every_kind_of_step_recovers(engine: Engine, kind: str, tasks: int) -> None:
    """What needs time or somebody else has it, while ordinary steps of all kinds are cancelled."""
    engine.now(NOON)
    Compiled(engine, "flow: child\nsteps:\n  inner: {handler: app.ok, queue: saga}\n")
    flow = Compiled(engine, f"""{SAGA}
  recover: {kind}
  after: {{handler: app.ok, depends_on: [recover]}}
  idle: {{wait: {{for: 2h}}}}
  asks: {{wait: {{event: never}}}}
  runs: {{flow: child}}
{AUDIT}""")  # fmt: skip
    run = flow.start()

    flow.work(hold="inner")
    during = engine.status(run)
    ordinary = {slug: engine.statuses(run)[slug] for slug in ("idle", "asks")}
    for task in flow.held:
        engine.report(done(task))
    if "event" in kind:
        engine.call("send_event", run, "approved", "{}")
    engine.now("2036-01-01 12:40:00Z")
    for _ in range(3):
        flow.work()

    assert ordinary == dict.fromkeys(ordinary, "cancelled")
    assert flow.ran.count("recover") == tasks
    assert {slug: engine.statuses(run)[slug] for slug in ("recover", "after", "runs", "audit")} == {
        "recover": "completed", "after": "completed", "runs": "cancelled", "audit": "completed",
    }  # fmt: skip
    assert (during, engine.status(run)) == ("failed" if tasks == 3 else "started", "failed")
    assert engine.violations() == []


def test_a_recovery_step_has_all_its_attempts(engine: Engine) -> None:
    """A failed attempt is parked for the next one, as it always is."""
    engine.now(NOON)
    flow = Compiled(engine, SAGA + """
  report: {handler: app.ok, retry: {max_attempts: 2, base_delay: 10m}, depends_on: {undo: failure}}
""")  # fmt: skip
    run = flow.start()
    flow.work(hold="report")
    (first,) = flow.held

    engine.report(failed(first))
    parked = engine.status(run)
    engine.now("2036-01-01 12:30:00Z")
    flow.work()

    assert (parked, flow.ran.count("report")) == ("started", 2)
    assert engine.statuses(run)["report"] == "completed"


def _tasks(flow: Compiled) -> dict[str, Any]:
    """The tasks that can be claimed now, by their step."""
    return {task["step"]: task for task in flow.engine.claim(flow.name)}


@pytest.mark.parametrize("word", ["failed", "done"])
def test_a_join_waits_for_the_branch_that_was_stopped(engine: Engine, word: str) -> None:
    """`any` of a failed and a stopped branch: it begins when the stopped one has stopped."""
    flow = Compiled(engine, """
flow: saga
defaults: {retry: 1}
steps:
  bad: {handler: app.broken}
  slow: {handler: app.ok}
  join: {handler: app.ok, depends_on: {bad: any, slow: any}}
  needs: {handler: app.ok, depends_on: {bad: failure, slow: success}}
  worse: {handler: app.broken, depends_on: {bad: failure}}
""")  # fmt: skip
    run = flow.start()
    first = _tasks(flow)
    engine.report(failed(first["bad"], "fatal"))
    worse = _tasks(flow)["worse"]

    engine.report(failed(worse, "fatal"))
    during = engine.statuses(run)
    engine.report(done(first["slow"]) if word == "done" else failed(first["slow"]))
    flow.work()

    assert (during["slow"], during["join"]) == ("started", "created")
    assert engine.statuses(run) == {
        "bad": "failed",
        "slow": "completed" if word == "done" else "cancelled",
        "join": "completed",
        "needs": "completed" if word == "done" else "skipped",
        "worse": "failed",
    }
    assert engine.status(run) == "failed"


def test_recovery_that_runs_already_outlives_another_failure(engine: Engine) -> None:
    """An ordinary failure stops the ordinary steps; it tells no compensation to stop."""
    flow = Compiled(engine, """
flow: saga
defaults: {retry: 1}
steps:
  charge: {handler: app.ok}
  undo: {handler: app.ok, depends_on: {charge: failure}}
  tell: {handler: app.ok, depends_on: [undo]}
  other: {handler: app.ok}
  later: {handler: app.ok, depends_on: [other]}
  third: {handler: app.ok}
""")  # fmt: skip
    run = flow.start()
    first = _tasks(flow)
    engine.report(failed(first["charge"], "fatal"))
    undo = _tasks(flow)["undo"]

    engine.report(failed(first["other"], "fatal"))
    told = engine.heartbeat(undo, first["third"])["stop"]
    during = engine.status(run)
    engine.report(done(undo))
    flow.work()

    assert ([task["step"] for task in told], during) == (["third"], "started")
    assert engine.statuses(run) == {
        "charge": "failed", "undo": "completed", "tell": "completed", "other": "failed",
        "later": "skipped", "third": "cancelled",
    }  # fmt: skip
    assert flow.shown(run)["error"]["step"] == "other"


def test_one_recovery_that_fails_hard_stops_no_other(engine: Engine) -> None:
    """Two compensations of one failure: the second goes on when the first is lost."""
    flow = Compiled(engine, SAGA + """
  refund: {handler: app.ok, depends_on: {charge: failure}}
  mail: {handler: app.ok, depends_on: [refund]}
  ship: {handler: app.broken}
""")  # fmt: skip
    run = flow.start()

    flow.work()

    assert {*flow.ran} == {"charge", "undo", "refund", "mail", "ship"}
    assert engine.statuses(run)["mail"] == "completed"
    assert engine.status(run) == "failed"


@pytest.mark.parametrize(
    ("how", "error"), [("cancel", "Broken"), ("timeout", "RunTimeout")], ids=["cancel", "timeout"]
)
@pytest.mark.parametrize("last", ["", AUDIT], ids=["alone", "before finally"])
def test_a_cancel_and_a_timeout_stop_recovery_too(
    engine: Engine, how: str, error: str, last: str
) -> None:
    """Nothing but `finally` runs after them; the unhandled failure stays the run's."""
    engine.now(NOON)
    flow = Compiled(engine, f"""{SAGA}
  report: {{handler: app.ok, depends_on: {{undo: failure}}}}
  then: {{handler: app.ok, depends_on: [report]}}
{last}""")  # fmt: skip
    run = flow.start()
    flow.work(hold="report")

    if how == "cancel":
        engine.call("cancel_run", run)
    else:
        engine.now(LATER)
        engine.claim("none")
    engine.report(failed(flow.held[0]))
    flow.work()

    statuses = engine.statuses(run)
    assert (statuses["report"], statuses["then"]) == ("cancelled", "cancelled")
    assert statuses.get("audit") == ("completed" if last else None)
    shown = flow.shown(run)
    assert (shown["status"], shown["error"]["type"]) == ("failed", error)


def test_without_fail_fast_nothing_is_stopped(engine: Engine) -> None:
    """Ordinary steps and recovery all come to their end."""
    flow = Compiled(engine, SAGA.replace("timeout: 1h", "fail_fast: false") + """
  report: {handler: app.ok, depends_on: {undo: failure}}
  slow: {handler: app.ok}
  later: {handler: app.ok, depends_on: [slow]}
""")  # fmt: skip

    run = flow.run()

    assert engine.statuses(run)["later"] == engine.statuses(run)["report"] == "completed"
    assert engine.status(run) == "failed"


def test_a_map_that_was_stopped_ends_with_its_last_running_item(engine: Engine) -> None:
    """A completion in a run that stops counts the cancelled items as well; nothing stays open."""
    steps = {
        "bad": a_step(),
        "wide": a_step(map=literal([1, 2, 3])),
        "undo": a_step(depends_on={"bad": "failure"}),
        "tell": a_step(depends_on={"undo": "failure"}),
    }
    engine.deploy("flow", steps)
    run = engine.start("flow")
    bad, item = sorted(engine.claim("flow", quantity=2), key=lambda task: str(task["step"]))
    engine.report(failed(bad, "fatal"))
    (undo,) = engine.claim("flow", quantity=1)
    engine.report(failed(undo, "fatal"))

    assert engine.report(done(item)) == ["applied"]

    assert engine.statuses(run)["wide"] == "cancelled"
    assert engine.work("flow") == ["tell"]
    assert engine.status(run) == "failed"
