"""Definitions: defaults applied, durations in milliseconds, versions by content."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pgflow_yaml.language.compiler import canonical, compile_flow, merged_retry
from pgflow_yaml.language.model import Definition, Retry
from tests.unit.flows import a_flow, check


def compiled(text: str) -> Definition:
    """Compile a text that has to be valid."""
    checked = check(text)
    return compile_flow(checked.require(), source=checked.source)


def step_of(text: str, name: str = "a") -> dict[str, Any]:
    """Return the body of one step."""
    steps = cast("dict[str, Any]", compiled(text).body["steps"])
    return cast("dict[str, Any]", steps[name])


def test_a_step_with_nothing_but_a_handler_gets_every_default() -> None:
    """Defaults are written in the definition; absent formulas are left out."""
    assert step_of(a_flow("a: {handler: b.c}")) == {
        "handler": "b.c",
        "depends_on": {},
        "when_unmet": "skip",
        "retry": {
            "max_attempts": 3,
            "base_delay": 1000,
            "max_delay": 3_600_000,
            "backoff": "exponential",
            "jitter": True,
        },
        "timeout": 60_000,
        "start_delay": 0,
        "when_exhausted": "fail",
    }


def test_every_key_of_a_step_reaches_the_definition() -> None:
    """No key of the language does nothing."""
    step = step_of(
        a_flow(
            "b: {handler: x.b}, a: {handler: x.a, depends_on: [b],"
            " with: {k: '${{ steps.b.output }}'}, if: input.n > 1, when_unmet: fail, map: [1, 2],"
            " timeout: 1m, start_delay: 2s, when_exhausted: skip, retry: {max_attempts: 5,"
            " base_delay: 2s, max_delay: 1m, backoff: fixed, jitter: false}}",
            "input: {n: {type: integer}}",
        )
    )

    assert step["depends_on"] == {"b": "success"}
    assert step["with"] == {
        "ast": ["dict", "k", ["path", "steps.b.output"]],
        "paths": ["steps.b.output"],
    }
    assert step["if"] == {"ast": [">", ["path", "input.n"], ["lit", 1]], "paths": ["input.n"]}
    assert step["map"] == {"ast": ["lit", [1, 2]], "paths": []}
    assert (step["when_unmet"], step["when_exhausted"]) == ("fail", "skip")
    assert (step["timeout"], step["start_delay"]) == (60_000, 2000)
    assert step["retry"] == {
        "max_attempts": 5,
        "base_delay": 2000,
        "max_delay": 60_000,
        "backoff": "fixed",
        "jitter": False,
    }


@pytest.mark.parametrize(
    ("retry", "defaults", "expected"),
    [
        (None, None, (3, 1000)),
        (Retry(max_attempts=1), None, (1, 1000)),
        (None, Retry(max_attempts=9, base_delay=5), (9, 5)),
        (Retry(max_attempts=2), Retry(max_attempts=9, base_delay=5), (2, 5)),
        (Retry(base_delay=7), Retry(max_attempts=9, base_delay=5), (9, 7)),
    ],
)
def test_a_retry_is_merged_over_the_default(
    retry: Retry | None, defaults: Retry | None, expected: tuple[int, int]
) -> None:
    """An int sets only `max_attempts`; a mapping lays its keys over those of the flow."""
    merged = merged_retry(retry, defaults)

    assert (merged.max_attempts, merged.base_delay) == expected


def test_defaults_of_the_flow_reach_only_steps_that_do_not_say_otherwise() -> None:
    """`defaults` is for every step that does not set the key."""
    text = a_flow(
        "a: {handler: x.a}, b: {handler: x.b, retry: 1, timeout: 5}",
        "defaults: {retry: {max_attempts: 7, jitter: false}, timeout: 30s}",
    )

    a, b = step_of(text), step_of(text, "b")

    assert (a["timeout"], a["retry"]["max_attempts"], a["retry"]["jitter"]) == (30_000, 7, False)
    assert (b["timeout"], b["retry"]["max_attempts"], b["retry"]["jitter"]) == (5000, 1, False)


def test_comments_descriptions_and_order_are_no_new_version() -> None:
    """A cosmetic change during an incident is safe."""
    plain = compiled(a_flow("a: {handler: x.a, timeout: 60}, b: {handler: x.b}", "input: {n: {}}"))

    cosmetic = compiled(
        a_flow(
            "b: {handler: x.b}, a: {timeout: 1m, handler: x.a, description: more}",
            "description: shown  # why\nx-more: 1\n"
            "input: {n: {description: words, title: N, examples: [1]}}",
        )
    )

    assert cosmetic.version == plain.version
    assert cosmetic.description == "shown"
    assert len(plain.version) == 12


def test_the_order_of_keys_under_with_is_no_new_version() -> None:
    """Nor is that of mappings inside of it."""
    one = compiled(a_flow("a: {handler: x.a, with: {b: 1, a: {d: [1, 2], c: 2}}}"))
    other = compiled(a_flow("a: {handler: x.a, with: {a: {c: 2, d: [1, 2]}, b: 1}}"))
    another = compiled(a_flow("a: {handler: x.a, with: {a: {c: 2, d: [2, 1]}, b: 1}}"))

    assert one.version == other.version
    assert one.version != another.version


def test_deep_words_are_no_new_version_but_a_field_named_description_is() -> None:
    """Only keywords for people are dropped, not fields that bear their names."""
    plain = compiled(a_flow("a: {handler: x.a}", "input: {o: {properties: {k: {}}}}"))
    words = compiled(a_flow("a: {handler: x.a}", "input: {o: {properties: {k: {description: w}}}}"))
    field = compiled(
        a_flow("a: {handler: x.a}", "input: {o: {properties: {k: {}, description: {}}}}")
    )

    assert words.version == plain.version
    assert field.version != plain.version


@pytest.mark.parametrize(
    "changed",
    [
        "a: {handler: x.other}",
        "a: {handler: x.a, timeout: 61}",
        "a: {handler: x.a, with: {}}",
        "b: {handler: x.a}",
    ],
)
def test_whatever_changes_a_run_is_a_new_version(changed: str) -> None:
    """The version is the content."""
    assert compiled(a_flow(changed)).version != compiled(a_flow("a: {handler: x.a}")).version


def test_steps_are_ordered_level_by_level() -> None:
    """The order shown is that in which steps can run, then that of the file."""
    text = a_flow("z: {handler: x.z, depends_on: [m]}, m: {handler: x.m}, a: {handler: x.a}")

    assert compiled(text).order == ("m", "a", "z")


def test_the_source_is_kept_beside_the_definition() -> None:
    """People see the text they wrote."""
    text = a_flow("a: {handler: x.a}")

    assert compiled(text).source == text


def test_equal_values_have_one_canonical_text() -> None:
    """Keys are sorted, nothing is escaped that need not be."""
    assert canonical({"b": 1, "a": ["ä"]}) == '{"a":["ä"],"b":1}'


def test_a_flow_in_a_step_is_a_flow_of_its_own() -> None:
    """Its name comes from flow and step, its version is pinned, it has the defaults around it."""
    inside = "flow: {steps: {b: {handler: x.b}, c: {flow: {steps: {d: {handler: x.d}}}}}}"
    outer = compiled(
        a_flow(f"a: {{with: {{n: 1}}, {inside}}}", "defaults: {retry: 7, timeout: 5s}")
    )

    assert [inner.name for inner in outer.inner] == ["a_flow_a_c", "a_flow_a"]
    deep, inner = outer.inner
    steps = cast("Any", outer.body["steps"])
    assert steps["a"]["flow"] == f"a_flow_a@{inner.version}"
    assert inner.body["input"] == {"n": {}}
    assert deep.body["input_schema"] == {}
    for definition, step in ((inner, "b"), (deep, "d")):
        body = cast("Any", definition.body["steps"])[step]
        assert (body["retry"]["max_attempts"], body["timeout"]) == (7, 5000)
        assert body["queue"] == "a_flow"
    changed = compiled(a_flow(f"a: {{with: {{n: 1}}, {inside.replace('x.d', 'x.e')}}}"))
    assert len({definition.version for definition in (*outer.family, *changed.family)}) == 6
