"""Corners of the language that no example file has."""

from __future__ import annotations

import pytest

from tests.unit.flows import a_flow, check, codes

ARRAY = "input_schema: {type: array}"


@pytest.mark.parametrize(
    ("steps", "head", "expected"),
    [
        ("a: {handler: x.a}", "input: {}\ninput_schema: {type: array}", ["PF205"]),
        ("a: {handler: x.a}", "input_schema: {type: array, minLength: 3}", ["PF205"]),
        ("a: {handler: x.a}", "input_schema: true", []),
        ("a: {handler: x.a}", "input_schema: {pattern: x}", ["PF120"]),
        ("a: {handler: x.a, if: input.b}", ARRAY, []),
        (
            "a: {handler: x.a, if: input.b}",
            "input_schema: {type: object, properties: {c: {}}, additionalProperties: false}",
            ["PF207"],
        ),
        ("a: {handler: x.a}", "labels: [a]", ["PF103"]),
        ("a: {handler: x.a}", f"labels: {{a: {'x' * 257}}}", ["PF109"]),
        ("a: {handler: x.a}", "output: '{{ x }}'", ["PF021"]),
        ("a: {handler: x.a}", "output: '${{ item }}'", ["PF230"]),
        ("a: {handler: x.a}", "output: '${{ steps.b.output }}'", ["PF202"]),
        ("a: {handler: x.a}", "timeout: 0s", ["PF109"]),
        ("a: {handler: x.a}", "fail_fast: no", ["PF103"]),
        ("a: {handler: x.a}", "finally: {}", ["PF111"]),
        ("a: {handler: x.a}", "finally: {a: {handler: x.b}}", ["PF238"]),
        ("a: {handler: x.a}", "finally: {b: {handler: x.b, needs: []}}", ["PF105"]),
        ("a: {handler: x.a}", "finally: [b]", ["PF103"]),
        ("a: {handler: x.a, repeat: {until: item}, map: [1]}", "", ["PF230"]),
        ("a: {handler: x.a, repeat: {until: ''}}", "", ["PF219"]),
        ("a: {handler: x.a, with: 'x ${{}}'}", "", ["PF219"]),
        ("a: {handler: x.a, with: {'${{ input }}': 1}}", "", ["PF016"]),
        ("a: {handler: x.a, with: {'$${{ input }}': 1}}", "", []),
        ("a: {handler: x.a, with: ['x ${{ \"a': 'b\" }}']}", "", ["PF023"]),
        ("a: {handler: x.a, if: !input.b}", "input: {b: {}}", ["PF014"]),
        ("a: {handler: x.a, if: '${{ }}'}", "", ["PF219"]),
        ("a: {handler: x.a, onExit: b}", "", ["PF105"]),
        ("a: {handler: x.a, then: b}", "", ["PF105"]),
        ("a: {handler: x.a, on_failure: b}", "", ["PF105"]),
        ("a: {handler: x.a, map: [1], tolerate: '250%'}", "", ["PF106"]),
        ("a: {handler: x.a, map: [1], tolerate: '5'}", "", ["PF106"]),
        ("a: {handler: x.a, map: [1], tolerate: many}", "", ["PF106"]),
        ("a: {wait: {until: null}}", "", ["PF103"]),
        ("a: {wait: {for: ''}}", "", ["PF219"]),
        ("a: {wait: {for: 'true'}}", "", ["PF106"]),
        ("a: {wait: {for: '[5]'}}", "", ["PF106"]),
        ("a: {wait: {for: '5 * 60'}}", "", []),
        ("""a: {wait: {for: '"10m"'}}""", "", []),
        ("""a: {wait: {for: '"soon"'}}""", "", ["PF106"]),
        ("""a: {wait: {until: '"2030-01-31T08:00:00Z"'}}""", "", []),
        ("""a: {wait: {until: '"2030-01-31 08:00:00+01:00"'}}""", "", []),
        ("""a: {wait: {until: '"2030-01-31T08:00:00"'}}""", "", ["PF106"]),
        ("""a: {wait: {until: '"tomorrow"'}}""", "", ["PF106"]),
        ("a: {wait: {until: 1900000000}}", "", []),
        ("a: {wait: {until: 'false'}}", "", ["PF106"]),
        ("a: {wait: {for: 5, for_: 6}}", "", ["PF102"]),
        ("a: {handler: x.a, queue: a__b}", "", ["PF107"]),
        ("retry: {handler: x.a, foo: 1}", "", ["PF102"]),
        ("a: {flow: b@latest}", "", ["PF107"]),
        ("a: {flow: b, handlr: x.a}", "", ["PF102"]),
        ("a: {flow: b, retry: {if: error.type}, timeout: 5s, map: [1], start_delay: 1s}", "", []),
        ("a: {wait: {event: e}, map: [1]}", "", ["PF237"]),
        ("a: {wait: {event: e}, tolerate: 1}", "", ["PF237"]),
        ("a: {wait: {event: e}, map: [1], initial_tasks: 2}", "", ["PF237", "PF237"]),
        ("a: {wait: {event: e}, when_unmet: fail}", "", ["PF205"]),
        ("a: {wait: {event: e}, if: run.id, when_unmet: fail, when_exhausted: skip}", "", []),
    ],
)
def test_a_corner_has_its_findings(steps: str, head: str, expected: list[str]) -> None:
    """Each mistake once, with its code; what is right has none."""
    assert codes(a_flow(steps, head)) == expected


@pytest.mark.parametrize("step", ["{wait: {for: %s}}", "{handler: x.a, start_delay: %s}"])
def test_seconds_out_of_range_are_told_as_a_duration(step: str) -> None:
    """A wait's own number is one, too, although it may also be an expression."""
    (short,) = check(a_flow(f"a: {step % -5}")).diagnostics
    (long,) = check(a_flow(f"a: {step % 40_000_000}")).diagnostics

    assert short.message.endswith("must be at least 0 seconds, not -5")
    assert long.message.endswith("must be at most 365 days, not 40000000")
    assert (short.help, long.help) == ("write 0 or more", "write 365d or less")


def test_a_number_that_is_too_large_is_to_be_made_smaller() -> None:
    """The fix says the bound that was passed, not the other one."""
    (finding,) = check(a_flow("a: {handler: x.a, initial_tasks: 100001}")).diagnostics

    assert finding.help == "write 100000 or less"


def test_the_fix_for_a_missing_edge_keeps_the_form_of_depends_on() -> None:
    """A list, a mapping, a block, or nothing yet."""
    fixes = {}
    for form in ("", "depends_on: [b], ", "depends_on: {b: any}, ", "depends_on: [], "):
        text = a_flow(
            "b: {handler: x.b}, c: {handler: x.c},"
            f" a: {{handler: x.a, {form}with: '${{{{ steps.c.output }}}}'}}"
        )
        (finding,) = check(text).diagnostics
        fixes[form.removesuffix(", ")] = finding.help
    block = "flow: a\nsteps:\n  b: {handler: x.b}\n  c: {handler: x.c}\n"
    block += "  a:\n    handler: x.a\n    depends_on:\n      - b\n    if: steps.c.output\n"

    assert fixes == {
        "": "add `depends_on: [c]` to the step",
        "depends_on: [b]": 'add "c" to depends_on in line 3:  depends_on: [b, c]',
        "depends_on: {b: any}": (
            'add "c: success" to depends_on in line 3:  depends_on: {b: any, c: success}'
        ),
        "depends_on: []": 'add "c" to depends_on in line 3:  depends_on: [c]',
    }
    (finding,) = check(block).diagnostics
    assert finding.help == 'add "c" to depends_on in line 8'


def test_steps_and_finally_together_keep_the_limit() -> None:
    """2,000 in all (S-19)."""
    steps = "".join(f"  s{n}: {{handler: x.a}}\n" for n in range(1500))
    finals = "".join(f"  f{n}: {{handler: x.a}}\n" for n in range(501))

    assert codes(f"flow: a\nsteps:\n{steps}finally:\n{finals}") == ["PF209"]


def chained(prefix: str, count: int) -> str:
    """Steps that depend on all steps before them: the most edges for their number."""
    names = [f"{prefix}{n}" for n in range(count)]
    return "".join(
        f"  {name}: {{handler: x.a, depends_on: [{', '.join(names[:n])}]}}\n"
        for n, name in enumerate(names)
    )


def test_the_edges_of_steps_and_finally_together_keep_the_limit() -> None:
    """20,000 in all (S-19): 19,900 leave room for 100."""
    steps = f"flow: a\nsteps:\n{chained('s', 200)}finally:\n"

    assert codes(steps + chained("f", 14)) == []
    (finding,) = check(steps + chained("f", 15)).diagnostics
    assert finding.code == "PF209"
    assert finding.message == "the flow has 20,005 dependencies, more than 20,000"


def test_a_label_of_the_flow_is_known_to_expressions() -> None:
    """`run.labels.NAME` may be any name: the start can add labels to those of the file."""
    assert (
        codes(a_flow("a: {handler: x.a, if: run.labels.team == 'ml'}", "labels: {team: x}")) == []
    )


@pytest.mark.parametrize(
    ("name", "fix"), [("My-Child", "write flow: my_child"), ("my-child@1", "NAME@VERSION")]
)
def test_a_flow_that_cannot_have_this_name_is_answered_with_one_that_can(
    name: str, fix: str
) -> None:
    """As for a step or a field: the name to write, where it can be told."""
    [finding] = check(a_flow(f"a: {{flow: {name}}}")).diagnostics

    assert fix in (finding.help or "")


@pytest.mark.parametrize(
    ("name", "reason"), [("-x", "it begins with `-`"), ("1x", "a digit"), ("a b", "only letters")]
)
def test_a_name_is_refused_for_the_reason_that_it_has(name: str, reason: str) -> None:
    """A dash may stand in the name of a label, but not first."""
    [finding] = check(a_flow("a: {handler: x.a}", f"labels: {{{name!r}: b}}")).diagnostics

    assert reason in finding.message
