"""What runs when: every cell of the table and every numbered rule of the language, from files."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.engine.compiled import Compiled
from tests.engine.driver import done

if TYPE_CHECKING:
    from tests.engine.driver import Engine

HEAD = "flow: rules\ninput: {never: {type: boolean, default: false}}\n"
GO_ON = HEAD + "fail_fast: false\n"
# How a dependency can end: the column of the table, and the files' ways there.
COLUMNS = {
    "completed": ["{handler: app.ok}"],
    "skipped: condition": ["{handler: app.ok, if: input.never}"],
    "skipped: exhausted": ["{handler: app.broken, retry: 1, when_exhausted: skip}"],
    "skipped: upstream": [
        "{handler: app.ok, depends_on: [gate]}",
        "{handler: app.ok, if: input.never, when_unmet: skip-cascade}",
        "{handler: app.broken, retry: 1, when_exhausted: skip-cascade}",
    ],
    "failed": [
        "{handler: app.broken, retry: 1}",
        "{handler: app.ok, if: input.never, when_unmet: fail}",
        "{handler: app.ok, depends_on: [before], map: steps.before.output}",
    ],
}
MET = {
    "success": ["completed", "skipped: condition", "skipped: exhausted"],
    "failure": ["failed"],
    "any": [*COLUMNS],
}
CELLS = [
    pytest.param(edge, way, column in MET[edge], column == "completed",
                 id=f"{edge}, {column} {number}")
    for edge, (column, ways) in product(MET, COLUMNS.items())
    for number, way in enumerate(ways, 1)
]  # fmt: skip


@pytest.mark.parametrize(("edge", "way", "met", "has_key"), CELLS)
def test_an_edge_is_met_as_the_table_says(
    engine: Engine, edge: str, way: str, *, met: bool, has_key: bool
) -> None:
    """Met: the step runs, with a key for what completed. Unmet: it is skipped, upstream."""
    flow = Compiled(engine, GO_ON + f"""
steps:
  before: {{handler: app.ok}}
  gate: {{handler: app.ok, if: input.never, when_unmet: skip-cascade}}
  dep: {way}
  other: {{handler: app.ok, depends_on: [before]}}
  next: {{handler: app.ok, depends_on: {{dep: {edge}, other: success}}}}
""")  # fmt: skip

    run = flow.run()

    step = flow.step(run, "next")
    if met:
        assert step["status"] == "completed"
        assert set(step["output"]) == ({"dep", "other"} if has_key else {"other"})
    else:
        assert (step["status"], step["skip_reason"]) == ("skipped", "dependency_skipped")


def test_rule_1_an_unmet_edge_skips_at_once(engine: Engine) -> None:
    """It does not wait for the dependencies that still run."""
    flow = Compiled(engine, HEAD + """
steps:
  gate: {handler: app.ok, if: input.never, when_unmet: skip-cascade}
  slow: {handler: app.ok}
  next: {handler: app.ok, depends_on: [gate, slow]}
""")  # fmt: skip

    run = flow.start()

    assert engine.statuses(run) == {"gate": "skipped", "slow": "started", "next": "skipped"}
    flow.work()


def test_rule_1_upstream_spreads_along_success_edges_and_nothing_else(engine: Engine) -> None:
    """Behind a branch that is cut off, `any` runs and `failure` does not."""
    flow = Compiled(engine, HEAD + """
steps:
  gate: {handler: app.ok, if: input.never, when_unmet: skip-cascade}
  one: {handler: app.ok, depends_on: [gate]}
  two: {handler: app.ok, depends_on: [one]}
  join: {handler: app.ok, depends_on: {two: any}}
  catch: {handler: app.ok, depends_on: {two: failure}}
""")  # fmt: skip

    run = flow.run()

    assert flow.ran == ["join"]
    assert flow.step(run, "join")["output"] == {}
    assert [flow.step(run, slug)["skip_reason"] for slug in ("one", "two", "catch")] == [
        "dependency_skipped"
    ] * 3


@pytest.mark.parametrize(
    ("edges", "status"),
    [
        ("[a, b]", "skipped"),
        ("{a: success, b: any}", "completed"),
        ("{a: any, b: any}", "completed"),
        ("[a, c]", "completed"),
    ],
)
def test_rule_1_with_all_dependencies_skipped_nothing_runs_unless_an_edge_is_any(
    engine: Engine, edges: str, status: str
) -> None:
    """Each of the edges is met, and yet there is nothing to run for."""
    flow = Compiled(engine, HEAD + f"""
steps:
  a: {{handler: app.ok, if: input.never}}
  b: {{handler: app.broken, retry: 1, when_exhausted: skip}}
  c: {{handler: app.ok}}
  next: {{handler: app.ok, depends_on: {edges}}}
  behind: {{handler: app.ok, depends_on: [next]}}
""")  # fmt: skip

    run = flow.run()

    reason = "dependency_skipped" if status == "skipped" else None
    for slug in ("next", "behind"):
        step = flow.step(run, slug)
        assert (step["status"], step["skip_reason"]) == (status, reason)
    assert engine.status(run) == "completed"


@pytest.mark.parametrize(
    ("mode", "step", "behind", "run_status"),
    [
        ("skip", "skipped", "completed", "completed"),
        ("skip-cascade", "skipped", "skipped", "completed"),
        ("fail", "failed", "skipped", "failed"),
    ],
)
def test_rule_2_a_false_condition_does_what_when_unmet_says(
    engine: Engine, mode: str, step: str, behind: str, run_status: str
) -> None:
    """A skip does not spread, a skip-cascade does, fail is a failure."""
    flow = Compiled(engine, HEAD + f"""
steps:
  a: {{handler: app.ok}}
  b: {{handler: app.ok, depends_on: [a], if: steps.a.output == 1, when_unmet: {mode}}}
  c: {{handler: app.ok, depends_on: [a, b]}}
""")  # fmt: skip

    run = flow.run()

    assert engine.statuses(run) == {"a": "completed", "b": step, "c": behind}
    assert flow.step(run, "b")["skip_reason"] == (None if mode == "fail" else "condition_unmet")
    assert engine.status(run) == run_status


def test_rule_2_a_condition_is_not_looked_at_behind_an_unmet_edge(engine: Engine) -> None:
    """Edges come first: a condition that would be an error is none."""
    flow = Compiled(engine, HEAD + """
steps:
  gate: {handler: app.ok, if: input.never, when_unmet: skip-cascade}
  next: {handler: app.ok, depends_on: [gate], if: "input.never + 1 == 2"}
""")  # fmt: skip

    run = flow.run()

    assert flow.step(run, "next")["skip_reason"] == "dependency_skipped"
    assert engine.status(run) == "completed"


@pytest.mark.parametrize(
    ("keys", "outputs"),
    [("", {}), ("map: [x, y], ", ["x", "y"]), ("map: [], ", []), ("initial_tasks: 2, ", [{}, {}])],
)
def test_rule_3_a_step_starts_with_one_task_or_one_per_item(
    engine: Engine, keys: str, outputs: object
) -> None:
    """No items: completed with []."""
    flow = Compiled(engine, f"flow: rules\nsteps:\n  a: {{{keys}handler: app.ok}}\n")

    run = flow.run()

    assert flow.step(run, "a")["output"] == outputs
    assert len(flow.ran) == (len(outputs) if isinstance(outputs, list) else 1)


@pytest.mark.parametrize(
    ("policy", "statuses", "run_status"),
    [
        ("fail", {"a": "failed", "b": "skipped", "c": "completed"}, "failed"),
        ("skip", {"a": "skipped", "b": "completed", "c": "completed"}, "completed"),
        ("skip-cascade", {"a": "skipped", "b": "skipped", "c": "completed"}, "completed"),
    ],
)
def test_rule_4_used_up_attempts_end_a_step_as_when_exhausted_says(
    engine: Engine, policy: str, statuses: dict[str, str], run_status: str
) -> None:
    """Two attempts are two calls."""
    flow = Compiled(engine, f"""
flow: rules
steps:
  a: {{handler: app.broken, retry: {{max_attempts: 2, base_delay: 0}}, when_exhausted: {policy},
       depends_on: [c]}}
  b: {{handler: app.ok, depends_on: [a, c]}}
  c: {{handler: app.ok}}
""")  # fmt: skip

    run = flow.run()

    assert flow.ran.count("a") == 2
    assert engine.statuses(run) == statuses
    assert engine.status(run) == run_status


def test_rule_4_an_unhandled_failure_stops_what_runs_and_starts_nothing(engine: Engine) -> None:
    """fail_fast: started tasks are told to stop, and what was stopped ends cancelled."""
    flow = Compiled(engine, """
flow: rules
steps:
  a: {handler: app.broken, retry: 1, depends_on: [first]}
  first: {handler: app.ok}
  slow: {handler: app.ok}
  later: {handler: app.ok, depends_on: [slow]}
""")  # fmt: skip
    run = flow.start()

    flow.work(hold="slow")

    (slow,) = flow.held
    told = engine.heartbeat(slow)
    assert [task["step"] for task in told["stop"]] == ["slow"]
    assert engine.report(done(slow)) == ["run_terminal"]
    assert engine.statuses(run) == {
        "first": "completed", "a": "failed", "slow": "cancelled", "later": "cancelled",
    }  # fmt: skip
    assert flow.shown(run)["error"]["step"] == "a"


@pytest.mark.parametrize("edge", ["failure", "any"])
def test_rule_4_a_catch_that_completes_handles_the_failure(engine: Engine, edge: str) -> None:
    """The run completes; who needed the success is skipped."""
    flow = Compiled(engine, f"""
flow: rules
steps:
  a: {{handler: app.broken, retry: 1}}
  next: {{handler: app.ok, depends_on: [a]}}
  catch: {{handler: app.ok, depends_on: {{a: {edge}}}}}
""")  # fmt: skip

    run = flow.run()

    assert engine.statuses(run) == {"a": "failed", "next": "skipped", "catch": "completed"}
    shown = flow.shown(run)
    assert (shown["status"], shown["error"]) == ("completed", None)


@pytest.mark.parametrize(
    ("catch", "status", "error"),
    [
        ("{handler: app.broken, retry: 1, depends_on: {a: failure}}", "failed", "catch"),
        ("{handler: app.ok, if: input.never, depends_on: {a: failure}}", "skipped", "a"),
        (
            "{handler: app.broken, retry: 1, when_exhausted: skip, depends_on: {a: any}}",
            "skipped", "a",
        ),
        ("{handler: app.ok, depends_on: {a: failure, gate: success}}", "skipped", "a"),
    ],
    ids=["fails", "has a condition", "is used up and skipped", "is cut off"],
)  # fmt: skip
def test_rule_4_a_catch_that_does_not_complete_leaves_the_failure_unhandled(
    engine: Engine, catch: str, status: str, error: str
) -> None:
    """The run's error is its last unhandled one."""
    flow = Compiled(engine, HEAD + f"""
steps:
  gate: {{handler: app.ok, if: input.never, when_unmet: skip-cascade}}
  a: {{handler: app.broken, retry: 1}}
  catch: {catch}
""")  # fmt: skip

    run = flow.run()

    assert engine.statuses(run) == {"gate": "skipped", "a": "failed", "catch": status}
    shown = flow.shown(run)
    assert (shown["status"], shown["error"]["step"]) == ("failed", error)


def test_rule_4_one_catch_of_several_is_enough(engine: Engine) -> None:
    """Unhandled only once all of them have ended and none has completed."""
    flow = Compiled(engine, HEAD + """
steps:
  a: {handler: app.broken, retry: 1}
  skipped: {handler: app.ok, if: input.never, depends_on: {a: failure}}
  slow: {handler: app.ok, depends_on: {a: any}}
""")  # fmt: skip
    run = flow.start()

    flow.work(hold="slow")
    before = engine.status(run)
    engine.report(done(flow.held[0]))

    assert (before, engine.status(run)) == ("started", "completed")


def test_rule_4_nothing_is_stopped_while_a_catch_is_possible(engine: Engine) -> None:
    """Other branches start tasks; when the catch has failed they are stopped."""
    flow = Compiled(engine, """
flow: rules
steps:
  a: {handler: app.broken, retry: 1}
  catch: {handler: app.ok, depends_on: {a: failure}}
  one: {handler: app.ok}
  two: {handler: app.ok, depends_on: [one]}
  three: {handler: app.ok, depends_on: [two, catch]}
""")  # fmt: skip
    run = flow.start()

    flow.work(hold="catch")

    assert "two" in flow.ran
    assert engine.statuses(run)["three"] == "created"
    (catch,) = flow.held
    engine.report(catch | {"outcome": "fatal", "error": {"type": "Broken", "message": "no"}})
    assert engine.status(run) == "failed"


def test_rule_4_without_fail_fast_other_branches_end_first(engine: Engine) -> None:
    """The run fails when all its steps are terminal."""
    flow = Compiled(engine, GO_ON + """
steps:
  a: {handler: app.broken, retry: 1}
  b: {handler: app.ok, depends_on: [a]}
  one: {handler: app.ok}
  two: {handler: app.ok, depends_on: [one]}
""")  # fmt: skip
    run = flow.start()

    flow.work(hold="two")
    before = engine.status(run)
    engine.report(done(flow.held[0]))

    shown = flow.shown(run)
    assert (before, shown["status"]) == ("started", "failed")
    assert (shown["error"]["step"], shown["output"]) == ("a", None)
    assert engine.statuses(run) == {
        "a": "failed", "b": "skipped", "one": "completed", "two": "completed",
    }  # fmt: skip
