"""Definitions of the keys that shape a run: each reaches the body, none when it is not written."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pgflow_yaml.language import listening
from pgflow_yaml.language.compiler import compile_flow
from tests.unit.flows import a_flow, check


def body_of(text: str) -> dict[str, Any]:
    """Compile a text that has to be valid."""
    return cast("dict[str, Any]", compile_flow(check(text).require()).body)


def step_of(step: str, head: str = "") -> dict[str, Any]:
    """Compile one step `a`, beside a first step `b`."""
    return cast(
        "dict[str, Any]", body_of(a_flow(f"b: {{handler: x.b}}, a: {step}", head))["steps"]["a"]
    )


def a_path(path: str) -> dict[str, Any]:
    """The formula of an expression that is one path."""
    return {"ast": ["path", path], "paths": [path]}


def test_an_edge_says_on_which_outcome() -> None:
    """A list means success; a mapping says it for each."""
    assert step_of("{handler: x.a, depends_on: [b]}")["depends_on"] == {"b": "success"}
    assert step_of("{handler: x.a, depends_on: {b: failure}}")["depends_on"] == {"b": "failure"}
    assert step_of("{handler: x.a, depends_on: {b: any}}")["depends_on"] == {"b": "any"}


@pytest.mark.parametrize(
    ("written", "compiled"),
    [
        ("max_parallel: 3", {"max_parallel": 3}),
        ("fail_fast: false", {"fail_fast": False}),
        ("tolerate: 3", {"tolerate": 3}),
        ("tolerate: 5%", {"tolerate": {"percent": 5.0}}),
        ('tolerate: "0.25%"', {"tolerate": {"percent": 0.25}}),
        ("fail_fast: true", {}),
        ("tolerate: 0", {}),
        ("tolerate: 0%", {}),
    ],
)
def test_the_knobs_of_a_map_are_there_when_they_say_something(
    written: str, compiled: dict[str, Any]
) -> None:
    """A default that is written out makes no other version."""
    plain = step_of("{handler: x.a, map: [1, 2]}")

    assert step_of(f"{{handler: x.a, map: [1, 2], {written}}}") == {**plain, **compiled}


@pytest.mark.parametrize(
    ("written", "compiled"), [("handles: false", {"handles": False}), ("handles: true", {})]
)
def test_a_step_that_handles_nothing_says_so(written: str, compiled: dict[str, Any]) -> None:
    """The default makes no other version."""
    plain = step_of("{handler: x.a, depends_on: {b: failure}}")

    assert step_of(f"{{handler: x.a, depends_on: {{b: failure}}, {written}}}") == plain | compiled


@pytest.mark.parametrize(
    ("written", "flows", "status"),
    [
        ('{flows: "*"}', ["*"], ["failed"]),
        ("{flows: order, status: completed}", ["order"], ["completed"]),
        ("{flows: [b, a], status: [failed, cancelled]}", ["a", "b"], ["cancelled", "failed"]),
    ],
)
def test_after_is_two_lists_and_writes_the_input(
    written: str, flows: list[str], status: list[str]
) -> None:
    """In an order of their own, so that the order in the file makes no version."""
    body = body_of(a_flow("a: {handler: x.a}", f"after: {written}"))

    assert body["after"] == {"flows": flows, "status": status}
    assert body["input"] == listening.INPUT


def test_repeat_has_its_defaults_and_null_lifts_the_limit() -> None:
    """A round every five seconds, a hundred of them."""
    plain = step_of("{handler: x.a, repeat: {until: output.ready}}")["repeat"]
    full = step_of("{handler: x.a, repeat: {until: iteration, every: 10s, max: null}}")["repeat"]

    assert plain == {"until": a_path("output.ready"), "every": 5000, "max": 100}
    assert full == {"until": a_path("iteration"), "every": 10_000, "max": None}


def test_a_queue_is_the_step_s_or_the_default_unless_it_is_the_flow_s_own() -> None:
    """The name of the flow is the name of its queue, so saying it says nothing."""
    assert "queue" not in step_of("{handler: x.a}")
    assert "queue" not in step_of("{handler: x.a, queue: a_flow}")
    assert step_of("{handler: x.a, queue: gpu}")["queue"] == "gpu"
    assert step_of("{handler: x.a}", "defaults: {queue: gpu}")["queue"] == "gpu"
    assert "queue" not in step_of("{handler: x.a, queue: a_flow}", "defaults: {queue: gpu}")


def test_a_retry_may_depend_on_the_error() -> None:
    """The step's condition replaces that of the defaults."""
    own = step_of("{handler: x.a, retry: {if: error.type}}", "defaults: {retry: {if: attempt}}")
    inherited = step_of("{handler: x.a, retry: 5}", "defaults: {retry: {if: attempt}}")

    assert own["retry"]["if"] == a_path("error.type")
    assert inherited["retry"]["if"] == a_path("attempt")
    assert inherited["retry"]["max_attempts"] == 5
    assert "if" not in step_of("{handler: x.a}")["retry"]


def test_a_child_flow_is_tried_once_and_without_a_limit_unless_written() -> None:
    """Defaults concern handlers; what is written in the step holds."""
    head = "defaults: {retry: 7, timeout: 5s, queue: gpu}"
    plain = step_of("{flow: child}", head)
    full = step_of("{flow: child@0123456789ab, retry: 2, timeout: 1h, map: [1], with: 5}", head)

    assert plain == {
        "flow": "child",
        "depends_on": {},
        "when_unmet": "skip",
        "when_exhausted": "fail",
        "start_delay": 0,
        "retry": {
            "max_attempts": 1,
            "base_delay": 1000,
            "max_delay": 3_600_000,
            "backoff": "exponential",
            "jitter": True,
        },
    }
    assert full["flow"] == "child@0123456789ab"
    assert (full["retry"]["max_attempts"], full["timeout"]) == (2, 3_600_000)
    assert full["with"] == {"ast": ["lit", 5], "paths": []}


@pytest.mark.parametrize(
    ("wait", "compiled"),
    [
        ("{for: 10m}", {"for": 600_000}),
        ("{for: 1.5}", {"for": 1500}),
        ("{for: steps.b.output.pause}", {"for": a_path("steps.b.output.pause")}),
        ("{until: steps.b.output.at}", {"until": a_path("steps.b.output.at")}),
        ("{until: 1900000000}", {"until": {"ast": ["lit", 1_900_000_000], "paths": []}}),
        ("{event: paid.in_full}", {"event": "paid.in_full"}),
        ("{event: e, timeout: 3d}", {"event": "e", "timeout": 259_200_000}),
    ],
)
def test_a_wait_is_for_a_time_until_a_moment_or_for_an_event(
    wait: str, compiled: dict[str, Any]
) -> None:
    """Without attempts, timeout of an attempt, or arguments."""
    assert step_of(f"{{wait: {wait}, depends_on: [b]}}", "defaults: {retry: 7, timeout: 5s}") == {
        "wait": compiled,
        "depends_on": {"b": "success"},
        "when_unmet": "skip",
        "when_exhausted": "fail",
        "start_delay": 0,
    }


def test_the_keys_of_the_flow_reach_the_body_and_labels_do_not() -> None:
    """Labels are beside the definition: changing them makes no new version."""
    plain = compile_flow(check(a_flow("a: {handler: x.a}")).require())
    labelled = compile_flow(check(a_flow("a: {handler: x.a}", "labels: {team: ml}")).require())
    full = body_of(
        a_flow(
            "a: {handler: x.a}",
            "output: {k: '${{ steps.a.output }}'}\ntimeout: 2h\nfail_fast: false\n"
            "input_schema: {type: array, items: {type: string, description: d}}",
        )
    )

    assert labelled.labels == {"team": "ml"}
    assert labelled.version == plain.version
    assert set(plain.body) == {"flow", "steps"}
    assert full["output"] == {
        "ast": ["dict", "k", ["path", "steps.a.output"]],
        "paths": ["steps.a.output"],
    }
    assert (full["timeout"], full["fail_fast"]) == (7_200_000, False)
    assert full["input_schema"] == {"type": "array", "items": {"type": "string"}}


def test_finally_steps_are_steps_of_their_own_section_and_ordered_behind_all_others() -> None:
    """They know the outcome of the run and the output of every step."""
    text = a_flow(
        "b: {handler: x.b, depends_on: [a]}, a: {handler: x.a}",
        "finally:\n"
        "  report: {handler: x.r, depends_on: [audit], with: '${{ steps.audit.output }}'}\n"
        "  audit: {handler: x.u, if: run.status == 'failed', with: [\"${{ steps.b.errors }}\", "
        '"${{ run.failed }}", "${{ run.unhandled }}", "${{ run.skipped }}"]}',
    )
    definition = compile_flow(check(text).require())
    finals = cast("dict[str, Any]", definition.body["finally"])

    assert definition.order == ("a", "b", "audit", "report")
    assert finals["report"]["depends_on"] == {"audit": "success"}
    assert finals["audit"]["if"]["paths"] == ["run.status"]
    assert finals["audit"]["with"]["paths"] == [
        "run.failed",
        "run.skipped",
        "run.unhandled",
        "steps.b.errors",
    ]


def test_a_secret_is_a_path_like_any_other() -> None:
    """The definition holds the name alone; the worker finds the value."""
    step = step_of("{handler: x.a, with: {key: '${{ secrets.API_KEY }}'}}")

    assert step["with"] == {
        "ast": ["dict", "key", ["path", "secrets.API_KEY"]],
        "paths": ["secrets.API_KEY"],
    }


def test_the_default_of_an_integer_field_is_an_integer() -> None:
    """A handler may count with it, however the file writes it; a number field keeps a double."""
    fields = "n: {type: integer, default: 1e3}, x: {type: number, default: 1e3}"
    default = body_of(a_flow("a: {handler: x.a}", f"input: {{{fields}}}"))["input"]

    assert [type(default[name]["default"]) for name in ("n", "x")] == [int, float]


def test_a_step_knows_its_own_name() -> None:
    """`run.step` is known when the file is compiled: no run looks it up."""
    step = step_of(
        '{handler: x.a, if: run.step != "b", with: {n: "${{ run.step }}-${{ run.id }}"}}'
    )

    assert step["with"] == {
        "ast": ["dict", "n", ["text", ["lit", "a"], ["lit", "-"], ["path", "run.id"]]],
        "paths": ["run.id"],
    }
    assert step["if"] == {"ast": ["!=", ["lit", "a"], ["lit", "b"]], "paths": []}
