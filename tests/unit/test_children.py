"""Child flows: looked up, compared with their parents, and never in a cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.language import frames
from pgflow_yaml.language.compiler import compile_flow
from pgflow_yaml.language.validation import check_flows, children_of, is_given
from tests.unit.flows import check

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Definition

CHILD = "flow: child\ninput: {region: {enum: [eu, us]}, size: {type: integer, default: 1}}\n"
CHILD += "steps: {a: {handler: x.a}}\n"


def a_definition(text: str) -> Definition:
    """Compile a text that is valid by itself."""
    checked = check(text)
    return compile_flow(checked.require(), source=checked.source)


def a_parent(step: str, *, head: str = "") -> Definition:
    """Compile a flow `parent` whose step `b` runs a child, after a step `region`."""
    steps = f"steps:\n  region: {{handler: x.a}}\n  b: {step}\n"
    return a_definition(f"flow: parent\n{head}{steps}")


def findings(*definitions: Definition, stored: Any = None) -> list[tuple[str, str, str]]:
    """Every finding as code, message and the text under its caret."""
    result = []
    for definition, findings in zip(
        definitions, check_flows(definitions, stored=stored), strict=True
    ):
        lines = definition.source.split("\n")
        for finding in findings:
            span = finding.span
            assert span is not None
            marked = lines[span.line - 1][span.column - 1 : span.end_column - 1]
            result.append((finding.code, finding.message, marked))
    return result


def test_a_child_that_nobody_looked_for_is_a_warning_with_its_frame() -> None:
    """Without a database only the files are known; `compile` knows more."""
    parent = a_parent("{flow: child, with: {region: eu}}")

    ((finding,),) = check_flows([parent])

    assert finding.severity == "warning"
    assert frames.render(finding, file="p.yaml", source=parent.source) == (
        'p.yaml:4:13: warning[PF240]: flow "child" is in none of these files\n'
        "  │\n"
        "4 │   b: {flow: child, with: {region: eu}}\n"
        "  │             ^^^^^\n"
        "  │\n"
        "  = help: give its file, too; `compile` and `run` look for it in the database as well"
    )


def test_a_child_is_found_among_the_files_or_in_the_database() -> None:
    """By its name, or in one version of it."""
    child = a_definition(CHILD)
    parent = a_parent("{flow: child, with: {region: eu}}")
    pinned = a_parent(f"{{flow: child@{child.version}, with: {{region: eu}}}}")

    assert children_of(parent.body) == ["child"]
    assert is_given("child", [child])
    assert not is_given("child@0123456789ab", [child])
    assert findings(parent, child) == []
    assert findings(pinned, child) == []
    assert findings(parent, stored={"child": child.body}) == []


def test_a_child_that_is_nowhere_is_an_error_with_a_guess() -> None:
    """Its name may be mistyped, or its version."""
    child = a_definition(CHILD)
    typo = a_parent("{flow: chlid}")
    other = a_parent("{flow: child@0123456789ab}")

    assert findings(typo, child, stored={"chlid": None}) == [
        ("PF240", 'there is no flow "chlid"; did you mean "child"?', "chlid")
    ]
    assert findings(other, child, stored={"child@0123456789ab": None}) == [
        ("PF240", 'flow "child" has no version 0123456789ab', "child@0123456789ab")
    ]


@pytest.mark.parametrize(
    ("step", "message", "marked"),
    [
        (
            "{flow: child, with: {size: 2}}",
            'flow "child" needs "region", which this step does not give',
            "{size: 2}",
        ),
        (
            "{flow: child, with: {region: eu, sise: 2}}",
            'flow "child" has no input "sise"; did you mean "size"?',
            "sise",
        ),
        (
            "{flow: child, with: {region: asia}}",
            'flow "child" refuses this: region must be one of ["eu", "us"]',
            "asia",
        ),
        (
            "{flow: child, with: {region: eu, size: 'n ${{ run.id }}'}}",
            'flow "child" refuses this: size must be integer, not string',
            "'n ${{ run.id }}'",
        ),
        (
            "{flow: child, with: {region: eu, size: [1, {k: v}]}}",
            'flow "child" refuses this: size must be integer, not array',
            "[1, {k: v}]",
        ),
        (
            "{flow: child, with: [1]}",
            'flow "child" takes an object, and `with` gives it a list',
            "[1]",
        ),
        (
            "{flow: child, map: [eu, us]}",
            'flow "child" takes an object, and an item of this map is not one',
            "[eu, us]",
        ),
    ],
)
def test_what_a_child_would_refuse_is_found_before(step: str, message: str, marked: str) -> None:
    """Missing fields, unknown ones, and literals of the wrong type."""
    assert findings(a_parent(step), a_definition(CHILD)) == [("PF242", message, marked)]


def test_without_with_a_child_is_given_outputs_or_the_own_input() -> None:
    """The names of the dependencies, or the fields of this flow, are its input then."""
    child = a_definition(CHILD)
    by_edge = a_parent("{flow: child, depends_on: [region]}")
    by_input = a_parent("{flow: child}", head="input: {region: {enum: [eu]}}\n")
    empty = a_parent("{flow: child}")

    assert findings(by_edge, child) == []
    assert findings(by_input, child) == []
    ((_, message, _),) = findings(empty, child)
    assert message == (
        'flow "child" needs "region", which this step does not give; '
        "without `with` it is given this flow's own input"
    )


def test_a_child_with_a_schema_takes_a_literal_of_that_schema() -> None:
    """`input_schema` says what the whole is."""
    child = a_definition(
        "flow: child\ninput_schema: {type: array}\nsteps: {a: {handler: x.a, map: input}}\n"
    )

    assert findings(a_parent("{flow: child, with: 5}"), child) == [
        ("PF242", 'flow "child" refuses this: the input must be array, not the number 5', "5")
    ]
    assert (
        findings(
            a_parent("{flow: child, with: '${{ steps.region.output }}', depends_on: [region]}"),
            child,
        )
        == []
    )


def test_flows_that_run_each_other_are_a_circle() -> None:
    """In the files, through the database, or by itself."""
    a = a_definition("flow: a\nsteps: {s: {flow: b}}\n")
    b = a_definition("flow: b\nsteps: {s: {flow: a}}\n")
    alone = a_definition("flow: a\nsteps: {s: {flow: a}}\n")

    cycle = "these flows run each other without end: "
    assert findings(a, b) == [
        ("PF241", cycle + "a → b → a", "b"),
        ("PF241", cycle + "b → a → b", "a"),
    ]
    assert findings(a, stored={"b": b.body}) == [("PF241", cycle + "a → b → a", "b")]
    assert findings(alone) == [("PF241", 'flow "a" runs itself', "a")]
