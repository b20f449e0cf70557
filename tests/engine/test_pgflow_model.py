"""Random flows, worked on at random, against a model of the rules in memory."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.pgflow_model import Run, Step
from tests.fixtures.effort import EFFORT, examples

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door

OUTPUTS = [{"ok": True}, {"ok": False}, [], [1], [{"ok": True}, None], None, 3]
POLICIES = ["fail", "skip", "skip-cascade"]
Action = tuple[str, int, Any]
numbers = count()


@st.composite
def flows(draw: st.DrawFn) -> list[Step]:
    """One to six steps on earlier ones; names that are not in the order of the steps."""
    slugs = draw(st.permutations("abcdef"))[: draw(st.integers(1, 6))]
    steps: list[Step] = []
    for slug in slugs:
        earlier = [step.slug for step in steps]
        deps = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
        wanted = {deps[0]: {"ok": True}} if deps else {"ok": True}
        steps.append(
            Step(
                slug=slug,
                deps=tuple(deps),
                is_map=len(deps) <= 1 and draw(st.booleans()),
                pattern=wanted if draw(st.integers(0, 3)) == 0 else None,
                when_unmet=draw(st.sampled_from(POLICIES)),
                when_exhausted=draw(st.sampled_from(POLICIES)),
                max_attempts=draw(st.integers(0, 2)),
            )
        )
    return steps


def inputs(steps: list[Step]) -> st.SearchStrategy[Any]:
    """An array where a map takes it, else an object that meets the patterns of roots or not."""
    arrays = any(step.is_map and not step.deps for step in steps)
    return st.sampled_from([[], [1], [{"ok": True}, 2, 3]] if arrays else [{"ok": True}, {"ok": 0}])


actions = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "work", "work", "work", "complete", "fail", "fail"]),
        st.integers(0, 20),
        st.sampled_from(OUTPUTS),
    ),
    max_size=30,
)


@pytest.mark.timeout(300 * EFFORT)
@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), steps=flows(), actions=actions)
def test_every_call_leaves_the_rows_that_the_model_says(
    door: Door, data: st.DataObject, steps: list[Step], actions: list[Action]
) -> None:
    """Claims, completions, failures, late and double, in any order; queue and archive as well."""
    run_input = data.draw(inputs(steps))
    flow = f"flow{next(numbers)}"
    _define(door, flow, steps)

    model = Run(steps, run_input)
    run = door.start(flow, run_input)

    assert _rows(door, flow, run) == _said(model)
    for kind, number, output in actions:
        tasks = [(s, i) for s, state in model.states.items() for i in range(len(state.tasks))]
        if not tasks:
            break
        _act(door, flow, run, model, kind, *tasks[number % len(tasks)], output)
        assert _rows(door, flow, run) == _said(model), (kind, tasks[number % len(tasks)], output)


def _define(door: Door, flow: str, steps: list[Step]) -> None:
    door.flow(
        flow,
        **{
            step.slug: {
                "deps_slugs": list(step.deps),
                "step_type": "map" if step.is_map else "single",
                "required_input_pattern": step.pattern,
                "when_unmet": step.when_unmet,
                "when_exhausted": step.when_exhausted,
                "max_attempts": step.max_attempts,
            }
            for step in steps
        },
    )


def _act(
    door: Door, flow: str, run: str, model: Run, kind: str, slug: str, index: int, output: Any
) -> None:
    task = {"run_id": run, "step_slug": slug, "task_index": index}
    if kind in ("claim", "work"):
        message = door.tasks(run, slug)[index]["message_id"]
        query = "select count(*) from pgflow.start_tasks(%s, %s, %s)"
        claimed = door.one(query, flow, [message], door.worker)
        assert claimed == model.claim(slug, index)
    if kind in ("complete", "work"):
        door.complete(task, output)
        model.complete(slug, index, output)
    if kind == "fail":
        door.fail(task)
        model.fail(slug, index)


def _rows(door: Door, flow: str, run: str) -> list[Any]:
    row = door.run(run)
    tasks = door.rows(
        """select t.step_slug, t.task_index, t.status, t.attempts_count, t.output
        from pgflow.step_tasks t join pgflow.steps d using (flow_slug, step_slug)
        where t.run_id = %s order by d.step_index, t.task_index""",
        run,
    )
    states = door.rows(
        """select s.step_slug, s.status,
          case s.status when 'created' then s.remaining_deps end as deps, s.initial_tasks,
          case when s.status <> 'failed' then s.remaining_tasks end as tasks,
          s.output, s.skip_reason
        from pgflow.step_states s join pgflow.steps d using (flow_slug, step_slug)
        where s.run_id = %s order by d.step_index""",
        run,
    )
    return [
        (row["status"], row["remaining_steps"], row["output"]),
        [tuple(state.values()) for state in states],
        [tuple(task.values()) for task in tasks],
        door.counts(flow),
    ]


def _said(model: Run) -> list[Any]:
    states = model.states.values()
    return [
        (model.status, model.remaining, model.output),
        [
            (
                state.step.slug,
                state.status,
                state.remaining_deps if state.status == "created" else None,
                state.initial,
                state.remaining if state.status != "failed" else None,
                state.output,
                state.reason,
            )
            for state in states
        ],
        [
            (state.step.slug, index, task.status, task.attempts, task.output)
            for state in states
            for index, task in enumerate(state.tasks)
        ],
        (model.sent - model.archived, model.archived),
    ]
