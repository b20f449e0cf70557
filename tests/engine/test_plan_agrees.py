"""`plan` against the engine: what it says is certain is what happens."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.language.compiler import version_of
from pgflow_yaml.language.expressions import parse_expression
from pgflow_yaml.language.model import Definition
from pgflow_yaml.language.plan import plan
from tests.engine.driver import Engine, a_step

if TYPE_CHECKING:
    import psycopg

FLOWS = 40
ROOTS = frozenset({"input", "steps", "run"})
FIELDS = {
    "yes": {"type": "boolean", "default": True},
    "no": {"type": "boolean", "default": False},
    "three": {"type": "array", "default": [1, 2, 3]},
    "none": {"type": "array", "default": []},
}
# With the status that each outcome of a plan allows, if all handlers succeed.
ALLOWED = {
    "runs": {"completed"},
    "skipped": {"skipped"},
    "on_failure": {"skipped"},
    "fails": {"failed"},
    "open": {"completed", "skipped", "failed"},
}


def formula(text: str) -> dict[str, Any]:
    """An expression as a definition has it."""
    expression = parse_expression(text, roots=ROOTS)
    return {"ast": expression.ast, "paths": expression.paths}


def some_steps(chance: random.Random) -> dict[str, Any]:
    """A few steps with random edges, conditions and maps."""
    steps: dict[str, Any] = {}
    for number in range(chance.randint(2, 7)):
        above = chance.sample([*steps], chance.randint(0, min(3, len(steps))))
        step = a_step(when_unmet=chance.choice(["skip", "skip", "skip-cascade", "fail"]))
        step["depends_on"] = {
            slug: chance.choice(["success", "success", "success", "failure", "any"])
            for slug in above
        }
        if chance.random() < 0.6:
            step["if"] = formula(_condition(chance, above))
        if chance.random() < 0.3:
            step["map"] = formula(chance.choice(["input.three", "input.none"]))
        steps[f"s{number}"] = step
    return steps


def _condition(chance: random.Random, above: list[str]) -> str:
    about_input = ["input.yes", "input.no", "not input.no", "len(input.three) == 3"]
    if not above or chance.random() < 0.5:
        return chance.choice(about_input)
    slug = chance.choice(above)
    about_step = chance.choice(
        [
            f'steps.{slug}.status == "skipped"',
            f"steps.{slug}.output == null",
            f"steps.{slug}.output.deep != null",
            f'steps.{slug}.skip_reason == "condition_unmet"',
            f"steps.{slug}.error == null",
        ]
    )
    return chance.choice(
        ["{b}", "{a} and {b}", "{a} or {b}", "{b} or {a}", "not ({a} and {b})"]
    ).format(a=chance.choice(about_input), b=about_step)


@pytest.mark.parametrize("seed", range(4))
def test_what_a_plan_says_is_what_happens(db: psycopg.Connection, seed: int) -> None:
    """Random flows, played to their end with handlers that succeed."""
    chance = random.Random(seed)
    engine = Engine(db)
    seen: Counter[str] = Counter()
    for number in range(FLOWS):
        name, steps = f"flow_{number}", some_steps(chance)
        body: dict[str, Any] = {"flow": name, "steps": steps, "input": FIELDS}
        definition = Definition(
            name=name,
            version=version_of(body),
            body=body,
            order=tuple(steps),
            description=None,
            source="",
        )
        planned = plan(definition, {}).steps
        engine.deploy(name, steps, input=FIELDS)

        run = engine.start(name)
        engine.work(name)

        failed = engine.status(run) == "failed"
        for slug, status in engine.statuses(run).items():
            seen[planned[slug].outcome] += 1
            # What fails for certain stops what has not begun.
            allowed = ALLOWED[planned[slug].outcome] | ({"cancelled"} if failed else set())
            assert status in allowed, (seed, number, slug, planned[slug], steps)

    assert set(seen) == set(ALLOWED)
