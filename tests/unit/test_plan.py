"""Forecast of a run, as far as it is certain before the run starts."""

from __future__ import annotations

from typing import Any

import pytest

from pgflow_yaml.language.compiler import compile_flow
from pgflow_yaml.language.plan import UNKNOWN, Plan, plan
from tests.unit.flows import check

ONBOARDING = """flow: onboarding
input:
  plan: {enum: [free, premium]}
  country: {type: string, default: DE}
steps:
  premium:
    handler: users.premium
    if: input.plan == "premium"
  free:
    handler: users.free
    if: input.plan == "free"
  vat:
    handler: users.vat
    if: input.country not in ["US", "CA"]
  gift:
    handler: users.gift
    depends_on: [premium]
  welcome:
    handler: users.welcome
    depends_on: [premium, free, vat]
  report:
    handler: users.report
    depends_on: [welcome]
    if: steps.welcome.output.ok
"""


def planned(text: str, run_input: Any = UNKNOWN) -> Plan:
    """Plan a text that has no mistake."""
    checked = check(text)
    assert [f.message for f in checked.diagnostics if f.severity == "error"] == []
    return plan(compile_flow(checked.require(), source=text), run_input)


def steps(body: str, run_input: Any = UNKNOWN, head: str = "") -> dict[str, tuple[str, str | None]]:
    """The outcome and reason of each step of a flow."""
    forecast = planned(f"flow: f\n{head}steps:\n{body}", run_input)
    return {slug: (step.outcome, step.reason) for slug, step in forecast.steps.items()}


def test_levels_and_the_longest_chain() -> None:
    """Levels have the order of the file; the chain is one of steps that wait for each other."""
    forecast = planned(ONBOARDING, {"plan": "premium"})

    assert forecast.levels == (("premium", "free", "vat"), ("gift", "welcome"), ("report",))
    assert forecast.critical_path == ("premium", "welcome", "report")
    assert forecast.final_levels == ()


def test_an_input_decides_what_depends_on_it_alone() -> None:
    """Defaults are put in; a step behind skipped ones only is skipped; the rest is open or runs."""
    forecast = planned(ONBOARDING, {"plan": "free", "country": "US"})

    assert forecast.skipped == ("premium", "vat", "gift")
    assert {slug: step.outcome for slug, step in forecast.steps.items()} == {
        "premium": "skipped",
        "free": "runs",
        "vat": "skipped",
        "gift": "skipped",
        "welcome": "runs",
        "report": "open",
    }
    assert forecast.steps["vat"].reason == (
        'its condition is false: input.country not in ["US", "CA"]'
    )
    assert forecast.steps["gift"].reason == "everything it depends on is skipped: premium"
    assert forecast.steps["report"].reason == "decided at run time: if steps.welcome.output.ok"


def test_without_an_input_its_conditions_are_open() -> None:
    """They say that the input decides; nothing is skipped for certain."""
    forecast = planned(ONBOARDING)

    assert forecast.skipped == ()
    assert forecast.steps["free"].reason == 'decided by the input: if input.plan == "free"'
    assert forecast.steps["gift"].outcome == "open"


def test_a_default_counts_when_an_input_is_given() -> None:
    """The country is DE, so the step runs."""
    assert planned(ONBOARDING, {"plan": "free"}).steps["vat"].outcome == "runs"


@pytest.mark.parametrize(
    ("when_unmet", "first", "second"),
    [
        ("skip", "skipped", "runs"),
        ("skip-cascade", "skipped", "skipped"),
        ("fail", "fails", "skipped"),
    ],
)
def test_what_a_false_condition_does(when_unmet: str, first: str, second: str) -> None:
    """To the step, and to one that also depends on a step that runs."""
    outcomes = steps(
        f"  a: {{handler: m.f, if: false, when_unmet: {when_unmet}}}\n"
        "  b: {handler: m.f}\n"
        "  c: {handler: m.f, depends_on: [a, b]}\n"
    )

    assert (outcomes["a"][0], outcomes["c"][0]) == (first, second)


# One row for each way in which a dependency may have ended, one column for each edge (§6).
ENDS = {
    "completed": "{handler: m.f}",
    "condition": "{handler: m.f, if: false}",
    "upstream": "{handler: m.f, if: false, when_unmet: skip-cascade}",
    "failed": "{handler: m.f, if: false, when_unmet: fail}",
}
EDGES = {
    ("completed", "success"): "runs",
    ("completed", "failure"): "on_failure",
    ("completed", "any"): "runs",
    ("condition", "success"): "runs",
    ("condition", "failure"): "skipped",
    ("condition", "any"): "runs",
    ("upstream", "success"): "skipped",
    ("upstream", "failure"): "skipped",
    ("upstream", "any"): "runs",
    ("failed", "success"): "skipped",
    ("failed", "failure"): "runs",
    ("failed", "any"): "runs",
}


@pytest.mark.parametrize(("end", "edge"), EDGES)
def test_each_edge_after_each_end(end: str, edge: str) -> None:
    """Beside a dependency that completed, so that not all are skipped."""
    outcomes = steps(
        f"  a: {ENDS[end]}\n  b: {{handler: m.f}}\n"
        f"  c: {{handler: m.f, depends_on: {{a: {edge}, b: success}}}}\n"
    )

    assert outcomes["c"][0] == EDGES[end, edge]


def test_a_catch_runs_only_if_something_fails() -> None:
    """And so does what stands behind it; neither counts as skipped, nor for the chain."""
    text = (
        "flow: f\nsteps:\n  charge: {handler: m.f}\n"
        "  release: {handler: m.f, depends_on: {charge: failure}}\n"
        "  tell: {handler: m.f, depends_on: [release]}\n"
        "  end: {handler: m.f, depends_on: {tell: any}}\n"
    )
    forecast = planned(text)

    assert forecast.skipped == ()
    assert [(s.outcome, s.reason) for s in forecast.steps.values()] == [
        ("runs", None),
        ("on_failure", "only if charge fails"),
        ("on_failure", "after release, only if charge fails"),
        ("runs", None),
    ]
    assert forecast.critical_path == ("charge", "end")


def test_a_skipped_step_is_known_to_later_conditions() -> None:
    """Its status and its missing output are certain; what a running step gives is not."""
    outcomes = steps(
        "  a: {handler: m.f, if: false}\n"
        "  b: {handler: m.f}\n"
        '  c: {handler: m.f, depends_on: [a, b], if: steps.a.status == "skipped"}\n'
        "  d: {handler: m.f, depends_on: [a, b], if: steps.a.output.deep.down != null}\n"
        '  e: {handler: m.f, depends_on: [a, b], if: steps.a.skip_reason == "condition_unmet"}\n'
        '  g: {handler: m.f, depends_on: [a, b], if: steps.b.status == "completed"}\n'
    )

    assert {slug: outcome for slug, (outcome, _) in outcomes.items() if slug > "b"} == {
        "c": "runs",
        "d": "skipped",
        "e": "runs",
        "g": "open",
    }


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        ("input.x and steps.a.output", "skipped"),
        ("steps.a.output and input.x", "open"),
        ("not input.x or steps.a.output", "runs"),
        ("not (input.x and steps.a.output)", "runs"),
        ("not steps.a.output", "open"),
        ("input.x", "skipped"),
        ("input.missing.deep == null", "runs"),
        ("run.flow == 'f'", "runs"),
        ("run.id == 'f'", "open"),
    ],
)
def test_a_condition_is_decided_as_soon_as_what_it_reads_first_decides_it(
    condition: str, outcome: str
) -> None:
    """From left to right, as it is evaluated: an open part may still end in an error."""
    head = "input: {x: {type: boolean}, missing: {type: object, default: {}}}\n"
    body = f'  a: {{handler: m.f}}\n  b: {{handler: m.f, depends_on: [a], if: "{condition}"}}\n'

    assert steps(body, {"x": False}, head)["b"][0] == outcome


def test_a_condition_without_a_value_fails_the_step() -> None:
    """As it will in the run."""
    body = "  a: {handler: m.f, if: input.x + 1 > 0}\n"

    outcome, reason = steps(body, {"x": "text"}, "input: {x: {type: string}}\n")["a"]

    assert outcome == "fails"
    assert reason is not None
    assert reason.startswith("its condition has no value: ")


@pytest.mark.parametrize(
    ("items", "outcome", "tasks"),
    [([1, 2, 3], "runs", 3), ([], "runs", 0), (None, "runs", 0), ("abc", "fails", None)],
)
def test_a_map_over_the_input_has_its_tasks_counted(
    items: Any, outcome: str, tasks: int | None
) -> None:
    """A value that is not a list fails the step, and its dependents are skipped."""
    text = (
        "flow: f\ninput: {items: {}}\nsteps:\n"
        "  a: {handler: m.f, map: input.items}\n  b: {handler: m.f, depends_on: [a]}\n"
    )
    forecast = planned(text, {"items": items})

    assert (forecast.steps["a"].outcome, forecast.steps["a"].tasks) == (outcome, tasks)
    assert forecast.steps["b"].outcome == ("runs" if outcome == "runs" else "skipped")


def test_tasks_that_are_written_down_are_counted() -> None:
    """A fixed number, and a list in the file; what another step gives is not known."""
    text = (
        "flow: f\nsteps:\n  a: {handler: m.f, initial_tasks: 50}\n"
        "  b: {handler: m.f, map: [1, 2]}\n"
        "  c: {handler: m.f, map: steps.a.output, depends_on: [a]}\n"
    )

    assert [step.tasks for step in planned(text).steps.values()] == [50, 2, None]


def test_finally_steps_have_levels_of_their_own() -> None:
    """The outcome of the run is open."""
    text = (
        "flow: f\nsteps:\n  a: {handler: m.f}\n"
        "finally:\n  audit: {handler: m.f}\n"
        '  alert: {handler: m.f, depends_on: [audit], if: run.status == "failed"}\n'
    )
    forecast = planned(text)

    assert (forecast.levels, forecast.final_levels) == ((("a",),), (("audit",), ("alert",)))
    assert forecast.steps["audit"].outcome == "runs"
    assert forecast.steps["alert"].outcome == "open"


def test_the_chain_prefers_what_waits_longest_and_says_how_long() -> None:
    """Among chains of as many steps; waits and start delays are known beforehand."""
    text = (
        "flow: f\nsteps:\n  a: {handler: m.f}\n"
        "  quick: {handler: m.f, depends_on: [a]}\n"
        "  slow: {wait: {for: 10m}, depends_on: [a]}\n"
        "  end: {handler: m.f, depends_on: [quick, slow], start_delay: 30s}\n"
    )
    forecast = planned(text)

    assert forecast.critical_path == ("a", "slow", "end")
    assert forecast.waiting == 630_000


def test_one_dependency_is_not_said_to_be_all() -> None:
    """The sentence about what may be skipped counts."""
    body = "  a: {handler: x.a, if: steps.z.output}\n".replace("if:", "depends_on: [z], if:")
    found = steps(f"  z: {{handler: x.z}}\n{body}  b: {{handler: x.b, depends_on: [a]}}\n")

    assert found["b"] == ("open", "decided at run time: a may be skipped")
