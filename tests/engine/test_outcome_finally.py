"""Rules 5 and 6 of what runs when: finally, and what a run comes to; from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.compiled import Compiled
from tests.engine.driver import done, failed
from tests.unit.flows import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.driver import Engine

AUDIT = "finally:\n  audit: {handler: app.ok, with: {status: '${{ run.status }}'}}\n"


def _nothing(_engine: Engine, _run: str) -> None:
    """Let it complete."""


def _cancel(engine: Engine, run: str) -> None:
    engine.call("cancel_run", run)


def _let_it_expire(engine: Engine, _run: str) -> None:
    engine.now("2100-01-01 13:00:00Z")


@pytest.mark.parametrize(
    ("first", "happens", "ran", "status"),
    [
        ("ok", _nothing, ["a", "b", "audit"], "completed"),
        ("broken, retry: 1", _nothing, ["a", "audit"], "failed"),
        ("ok", _cancel, ["audit"], "cancelled"),
        ("ok", _let_it_expire, ["audit"], "failed"),
    ],
    ids=["completed", "failed", "cancelled", "timed out"],
)
def test_rule_5_finally_runs_last_whatever_happened(
    engine: Engine,
    first: str,
    happens: Callable[[Engine, str], None],
    ran: list[str],
    status: str,
) -> None:
    """It sees what the run came to, and the run ends when it has ended."""
    engine.now("2100-01-01 12:00:00Z")
    flow = Compiled(engine, f"""
flow: rules
timeout: 1h
steps:
  a: {{handler: app.{first}}}
  b: {{handler: app.ok, depends_on: [a]}}
{AUDIT}""")  # fmt: skip
    run = flow.start()

    happens(engine, run)
    flow.work()
    flow.work()

    assert flow.ran == ran
    assert engine.statuses(run)["audit"] == "completed"
    shown = flow.shown(run)
    assert shown["status"] == status
    assert happens is not _let_it_expire or shown["error"]["type"] == "RunTimeout"


def test_rule_5_a_root_of_finally_receives_the_run_input(engine: Engine) -> None:
    """What hangs on it receives its output; neither is a leaf of the run's output."""
    flow = Compiled(engine, """
flow: rules
input: {n: {type: integer}}
steps:
  a: {handler: app.ok, with: "${{ input.n }}"}
finally:
  audit: {handler: app.ok}
  tell: {handler: app.ok, depends_on: [audit]}
""")  # fmt: skip

    run = flow.run(n=3)

    assert flow.ran == ["a", "audit", "tell"]
    assert flow.step(run, "audit")["output"] == {"n": 3}
    assert flow.step(run, "tell")["output"] == {"audit": {"n": 3}}
    assert set(flow.shown(run)["output"]) == {"a"}


def test_rule_6_the_output_may_read_a_step_of_finally(engine: Engine) -> None:
    """It is evaluated once, when these have ended; until then the run has none."""
    flow = Compiled(engine, """
flow: rules
steps:
  a: {handler: app.ok}
finally:
  audit: {handler: app.ok, with: "${{ run.status }}"}
output: {ended: "${{ steps.audit.output }}", first: "${{ steps.a.status }}"}
""")  # fmt: skip
    run = flow.start()

    flow.work(hold="audit")
    assert flow.shown(run)["output"] is None
    engine.report(done(flow.held[0], "as told"))

    assert flow.shown(run)["status"] == "completed"
    assert flow.shown(run)["output"] == {"ended": "as told", "first": "completed"}


@pytest.mark.parametrize(
    ("handler", "output", "error"),
    [
        ("ok", "${{ 1 / steps.audit.output }}", "ExpressionError"),
        ("broken, retry: 1", "${{ steps.audit.output }}", "Broken"),
    ],
)
def test_rule_6_what_goes_wrong_after_finally_fails_the_run(
    engine: Engine, handler: str, output: str, error: str
) -> None:
    """An output without a value fails the run; after a failure no output is evaluated."""
    flow = Compiled(engine, f"""
flow: rules
steps:
  a: {{handler: app.ok}}
finally:
  audit: {{handler: app.{handler}, with: 0}}
output: {output}
""")  # fmt: skip

    run = flow.run()

    shown = flow.shown(run)
    assert (shown["status"], shown["output"]) == ("failed", None)
    assert error in shown["error"]["type"] or shown["error"]["step"] == "audit"


@pytest.mark.parametrize("edge", ["failure", "any"])
def test_rule_6_a_catch_takes_nothing_from_the_output(engine: Engine, edge: str) -> None:
    """A step that only reacts to another one leaves it a leaf."""
    flow = Compiled(engine, f"""
flow: rules
steps:
  a: {{handler: app.ok}}
  b: {{handler: app.ok, depends_on: [a]}}
  undo: {{handler: app.ok, depends_on: {{b: {edge}}}}}
""")  # fmt: skip

    run = flow.run()

    assert set(flow.shown(run)["output"]) == ({"b", "undo"} if edge == "any" else {"b"})


@pytest.mark.parametrize(
    ("steps", "finals"),
    [("a: {handler: app.ok}", "b: {handler: app.ok, depends_on: [a]}"),
     ("a: {handler: app.ok, depends_on: [b]}", "b: {handler: app.ok}")],
)  # fmt: skip
def test_rule_5_steps_of_finally_depend_on_each_other_only(steps: str, finals: str) -> None:
    """A file that mixes them is refused."""
    checked = check(f"flow: rules\nsteps:\n  {steps}\nfinally:\n  {finals}\n")

    assert any('"a"' in d.message or '"b"' in d.message for d in checked.diagnostics)
    assert checked.flow is None


def test_rule_5_finally_waits_for_what_was_stopped(engine: Engine) -> None:
    """The started task is told to stop; finally begins with its worker's word."""
    flow = Compiled(engine, f"""
flow: rules
steps:
  a: {{handler: app.broken, retry: 1}}
  slow: {{handler: app.ok}}
{AUDIT}""")  # fmt: skip
    run = flow.start()

    flow.work(hold="slow")
    before = list(flow.ran)
    engine.report(failed(flow.held[0], "released"))
    flow.work()

    assert (sorted(before), flow.ran[-1]) == (["a", "slow"], "audit")
    assert engine.statuses(run) == {"a": "failed", "slow": "cancelled", "audit": "completed"}


def test_rule_5_finally_handles_no_failure(engine: Engine) -> None:
    """It observes: the run has failed although all of finally completed."""
    flow = Compiled(engine, f"flow: rules\nsteps:\n  a: {{handler: app.broken, retry: 1}}\n{AUDIT}")

    run = flow.run()

    assert flow.step(run, "audit")["status"] == "completed"
    assert (flow.shown(run)["status"], flow.shown(run)["error"]["step"]) == ("failed", "a")


@pytest.mark.parametrize("first", ["ok", "broken, retry: 1"])
def test_rule_5_a_failing_finally_fails_the_run(engine: Engine, first: str) -> None:
    """Its error is the last unhandled one; the other steps of finally run all the same."""
    flow = Compiled(engine, f"""
flow: rules
steps:
  a: {{handler: app.{first}}}
finally:
  audit: {{handler: app.broken, retry: 1}}
  tell: {{handler: app.ok}}
""")  # fmt: skip

    run = flow.run()

    assert engine.statuses(run)["tell"] == "completed"
    assert (flow.shown(run)["status"], flow.shown(run)["error"]["step"]) == ("failed", "audit")


def test_rule_5_edges_hold_within_finally(engine: Engine) -> None:
    """A failed one cuts off what needs its success, and `any` takes it."""
    flow = Compiled(engine, """
flow: rules
steps:
  a: {handler: app.ok}
finally:
  audit: {handler: app.broken, retry: 1}
  then: {handler: app.ok, depends_on: [audit]}
  anyway: {handler: app.ok, depends_on: {audit: any}}
""")  # fmt: skip

    run = flow.run()

    assert flow.ran == ["a", "audit", "anyway"]
    assert flow.step(run, "then")["skip_reason"] == "dependency_skipped"


def test_rule_6_an_unhandled_failure_weighs_more_than_a_cancel(engine: Engine) -> None:
    """A run that is failing may still be cancelled, twice: its finally is, and it has failed."""
    flow = Compiled(engine, f"flow: rules\nsteps:\n  a: {{handler: app.broken, retry: 1}}\n{AUDIT}")
    run = flow.start()

    flow.work(hold="audit")
    for _ in range(2):
        engine.call("cancel_run", run)
    engine.report(failed(flow.held[0], "released"))

    assert flow.shown(run)["status"] == "failed"
    assert engine.statuses(run) == {"a": "failed", "audit": "cancelled"}


@pytest.mark.parametrize("final", ["", AUDIT])
def test_rule_6_a_cancel_forgets_no_unhandled_failure(engine: Engine, final: str) -> None:
    """A run that went on beside a failure and is cancelled has failed by it."""
    flow = Compiled(engine, f"""
flow: rules
fail_fast: false
steps:
  a: {{handler: app.broken, retry: 1}}
  slow: {{handler: app.ok}}
{final}""")  # fmt: skip
    run = flow.start()
    flow.work(hold="slow")

    engine.call("cancel_run", run)
    engine.report(failed(flow.held[0]))
    flow.work()

    shown = flow.shown(run)
    assert (shown["status"], shown["error"]["step"]) == ("failed", "a")
    assert engine.statuses(run)["slow"] == "cancelled"


def test_rule_6_a_cancel_is_no_failure(engine: Engine) -> None:
    """A handled failure does not make a cancelled run a failed one."""
    flow = Compiled(engine, """
flow: rules
steps:
  a: {handler: app.broken, retry: 1}
  catch: {handler: app.ok, depends_on: {a: failure}}
  slow: {handler: app.ok}
""")  # fmt: skip
    run = flow.start()

    flow.work(hold="slow")
    engine.call("cancel_run", run)

    assert flow.shown(run)["status"] == "cancelled"
    assert engine.statuses(run) == {"a": "failed", "catch": "completed", "slow": "cancelled"}


def test_rule_6_a_failing_finally_fails_a_cancelled_run(engine: Engine) -> None:
    """The failure is unhandled, whatever came before."""
    flow = Compiled(engine, """
flow: rules
steps:
  a: {handler: app.ok}
finally:
  audit: {handler: app.broken, retry: 1}
""")  # fmt: skip
    run = flow.start()

    engine.call("cancel_run", run)
    flow.work()

    assert (flow.shown(run)["status"], flow.shown(run)["error"]["step"]) == ("failed", "audit")


def test_rule_6_a_timeout_fails_whatever_was_handled(engine: Engine) -> None:
    """What still runs when the time is up ends cancelled, and its worker is told."""
    engine.now("2100-01-01 12:00:00Z")
    flow = Compiled(engine, """
flow: rules
timeout: 1h
steps:
  a: {handler: app.broken, retry: 1}
  catch: {handler: app.ok, depends_on: {a: failure}}
  slow: {handler: app.ok, timeout: 2h}
""")  # fmt: skip
    run = flow.start()
    flow.work(hold="slow")

    _let_it_expire(engine, run)
    flow.work()

    shown = flow.shown(run)
    assert (shown["status"], shown["error"]["type"]) == ("failed", "RunTimeout")
    assert engine.report(done(flow.held[0])) == ["run_terminal"]
    assert engine.statuses(run)["slow"] == "cancelled"
