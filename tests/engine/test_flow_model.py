"""Random deployed flows, worked on at random by several workers, against a model in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pgflow_yaml.language.expressions import Expression, parse_expression
from tests.engine.flow_play import Action, Play
from tests.engine.flow_states import Step
from tests.fixtures.effort import EFFORT, examples

if TYPE_CHECKING:
    from tests.engine.driver import Engine

EXAMPLES = examples(150)
SLUGS = "abcdefghijkl"
OFTEN, RARELY = st.integers(0, 2).map(lambda n: n > 0), st.integers(0, 3).map(lambda n: n == 0)
TOLERANT: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {"fail_fast": False}, {"tolerate": 1}, {"percent": 50}]
)
LOST = [
    Step(slug="m", max_attempts=1, breaks=True),
    Step(slug="n", deps={"m": "failure"}, max_attempts=1, breaks=True),
]
ENDS = st.sampled_from(["skip", "skip-cascade", "fail", "fail", "fail"])
EDGES = st.sampled_from(["success"] * 3 + ["failure", "any"])
CATCHES = st.sampled_from(["success"] * 2 + ["failure"] * 3 + ["any"])
ROOTS = frozenset({"input", "steps", "run", "output", "iteration"})
CONDITIONS = [
    "input.flag",
    "not input.flag",
    "steps.{}.output",
    "steps.{}.output > 1",
    "steps.{}.status == 'completed'",
    "steps.{}.skip_reason == 'condition_unmet'",
    "steps.{}.error.type == 'Broken'",
    "steps.{}.error.attempts == 1 or input.flag",
]
UNTILS = ["output > 1", "iteration == 1", "output.n"]
ITEMS = [
    "[1, 'two', null]",
    "input.list",
    "[]",
    "default(steps.{}.output.n, [7, 8])",
    "steps.{}.output",
]
KINDS = [
    *["turn"] * 6, *["work"] * 3, *["report"] * 6, *["tick"] * 3, "beat", "beat", "crash",
    "redeliver", "lose", "send", "send", "sweep", "start", "cancel", "cancel",
    "redeploy", "retry",
]  # fmt: skip

# What a run of the test must have come across, or it is too shallow to mean anything.
REACHED = {
    "read queued", "read started", "heartbeat held", "heartbeat lost",
    "report completed: applied", "report completed: lost",
    "report failed: applied", "report failed: lost", "run completed: None",
    "step completed: None", "step cancelled: None", "step failed: None",
    "step skipped: condition_unmet", "step skipped: dependency_skipped",
    "step skipped: handler_failed", "failure handled", "item tolerated",
    "cancel of a run with outcome None", "cancel of a run with outcome failed",
    "recovery: open step completed", "recovery: open step failed", "recovery: open step skipped",
    "recovery: left step cancelled", "event completed a step", "failure left unhandled",
    "retry of a failed run: all", "retry of a failed run: soft", "retry of a failed run: from",
    "retry of a failed run: step", "retry of a cancelled run: all",
    "retry of a completed run: from", "retry of a completed run: soft",
    "retry that keeps items", "retry that leaves a failure",
}  # fmt: skip


@st.composite
def expressions(draw: st.DrawFn, texts: list[str], ancestors: list[str]) -> Expression:
    """One of these texts, about an ancestor where it names one."""
    usable = [text for text in texts if ancestors or "{}" not in text]
    text = draw(st.sampled_from(usable))
    slug = draw(st.sampled_from(ancestors)) if "{}" in text else ""
    return parse_expression(text.format(slug), roots=ROOTS)


final_steps = st.builds(
    Step,
    slug=st.just("x"),
    condition=st.none() | expressions(CONDITIONS[:2], []),
    count=st.none() | st.just(2),
    when_exhausted=st.sampled_from(["fail", "skip"]),
    max_attempts=st.integers(1, 2),
    is_final=st.just(value=True),
)


@st.composite
def flows(draw: st.DrawFn) -> list[Step]:
    """One to twelve steps on earlier ones; names that are not in the order of the steps.

    In half of the flows a step and the one that would undo it always fail, and steps that wait for
    failures are frequent.
    """
    stormy = draw(st.booleans())
    edges = CATCHES if stormy else EDGES
    slugs = draw(st.permutations(SLUGS))[: draw(st.integers(1, 12))]
    steps = {step.slug: step for step in LOST} if stormy else {}
    ancestors: dict[str, list[str]] = {"m": [], "n": ["m"]}
    for slug in slugs:
        size = min(draw(st.sampled_from([0, 1, 1, 2, 3])), len(steps))
        deps = draw(st.permutations(sorted(steps)))[:size]
        ancestors[slug] = sorted({slug for dep in deps for slug in (dep, *ancestors[dep])})
        kinds = {dep: draw(edges) for dep in deps}
        tolerant = draw(TOLERANT)
        shape = draw(st.sampled_from(["single"] * 4 + ["map", "tasks"] * 2 + ["repeat", "wait"]))
        steps[slug] = Step(
            slug=slug,
            deps=kinds,
            items=draw(expressions(ITEMS, ancestors[slug])) if shape == "map" else None,
            count=draw(st.integers(1, 3)) if shape == "tasks" else None,
            condition=draw(expressions(CONDITIONS, ancestors[slug])) if draw(RARELY) else None,
            when_unmet=draw(st.sampled_from(["skip"] * 4 + ["skip-cascade"] * 4 + ["fail"])),
            when_exhausted="fail" if stormy else draw(ENDS),
            handles={*kinds.values()} <= {"success"} or not draw(RARELY),
            max_attempts=1 if stormy else draw(st.integers(1, 3)),
            start_delay=5000 if draw(RARELY) else 0,
            max_parallel=draw(st.sampled_from([1, 2, 1000])),
            **(tolerant if shape in ("map", "tasks") else {}),
            # no two waits end at once: which fails first is nobody's promise
            timeout=(10_000 if draw(RARELY) else 60_000) + 7 * len(steps) * (shape == "wait"),
            event=draw(st.sampled_from(["go", "stop"])) if shape == "wait" else None,
            until=draw(expressions(UNTILS, [])) if shape == "repeat" else None,
        )
    finals = draw(st.lists(final_steps, min_size=1, max_size=2)) if draw(st.booleans()) else []
    return list(steps.values()) + [
        replace(step, slug="xy"[n], deps={"x": draw(EDGES)} if n else {})
        for n, step in enumerate(finals)
    ]


numbers = st.integers(0, 63)
actions = st.lists(
    st.builds(Action, st.sampled_from(KINDS), st.integers(0, 2), numbers, numbers),
    min_size=10,
    max_size=40,
)
retries = st.lists(
    st.builds(Action, st.just("retry"), numbers, numbers, numbers), min_size=1, max_size=2
)
inputs = st.fixed_dictionaries(
    {"flag": st.booleans(), "list": st.sampled_from([[], ["x"], [1, 2], None])}
)


@pytest.mark.slow
@pytest.mark.timeout(max(300, EXAMPLES * 2))
def test_every_call_leaves_what_the_model_says(engine: Engine) -> None:
    """After each action: runs, steps, tasks, verdicts, arguments, and when each message is due."""
    seen: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=EFFORT == 1,  # the default run plays the same games each time
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(flow=flows(), run_input=inputs, actions=actions, retries=retries, fail_fast=OFTEN)
    def play(
        flow: list[Step],
        run_input: dict[str, Any],
        actions: list[Action],
        retries: list[Action],
        *,
        fail_fast: bool,
    ) -> None:
        game = Play(engine, flow, run_input, fail_fast=fail_fast)
        try:
            for action in actions:
                game.act(action)
            game.drain()
            for retry in retries:
                game.act(retry)
                game.drain()
        finally:
            game.clear()
        for situation in game.seen:
            event(situation)
        seen.update(game.seen)

    play()
    assert REACHED - set(seen) == set()
