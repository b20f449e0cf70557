"""Findings about values before any run: reported when certain, and never otherwise."""

from __future__ import annotations

import pytest

from pgflow_yaml.language.expressions import parse_expression
from pgflow_yaml.language.validation.constants import error_of, truth_of
from pgflow_yaml.language.validation.names import ROOTS
from tests.unit.flows import a_flow, check, codes

INPUT = (
    "input: {plan: {enum: [free, premium]}, n: {type: integer, default: 1},"
    " u: {type: object, properties: {k: {type: string}}, default: {}},"
    " l: {type: [array, 'null'], default: null}, any: {default: 1}}"
)


def ast_of(text: str) -> object:
    """Parse an expression that is valid."""
    return parse_expression(text, roots=ROOTS).ast


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("1 < 2", True),
        ("not 1 < 2", False),
        ("input.n and false", False),
        ("false and input.n", False),
        ("input.n or 1", True),
        ("input.n and 1", None),
        ("input.n or 0", None),
        ("input.n == input.n", True),
        ("input.n != input.n", False),
        ("1 if input.n else 2", True),
        ("1 if input.n else 0", None),
        ("input.n if true else 0", None),
        ("[input.n]", True),
        ("[]", False),
        ("{'k': input.n}", True),
        ("len([x for x in [1, 2] if x > 1])", None),
        ("input.n", None),
        ("1 / 0", None),
        ("len(range(3))", None),
    ],
)
def test_the_truth_of_an_expression_is_told_when_no_run_can_change_it(
    text: str, truth: object
) -> None:
    """Three values: always, never, or it depends."""
    assert truth_of(ast_of(text)) is truth


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1 / 0", "division by zero"),
        ("input.n + 1 / 0", "division by zero"),
        ('[x + (1 + "a") for x in input.l]', "`+`"),
        ("input.n + 1", None),
        ("[1 + x for x in input.l]", None),
        ("false and 1 / 0", None),
    ],
)
def test_a_part_that_never_has_a_value_is_found(text: str, error: str | None) -> None:
    """Wherever it stands, unless it is never looked at."""
    reason = error_of(ast_of(text))

    assert (reason is None) == (error is None)
    assert error is None or error in str(reason)


@pytest.mark.parametrize(
    "condition",
    [
        "input.plan == 'free'",
        "input.plan in ['free', 'premium']",
        "input.plan != 'free'",
        "input.n == 1.0",
        "input.n > 0.5",
        "input.n > null",
        "input.u.k == null",
        "input.u.other == 5",
        "input.l == null",
        "input.any == 'x'",
        "input.n in input.l",
        "'x' in input.u.k",
        "input.u['k'] == 5",
    ],
)
def test_a_comparison_that_can_come_out_either_way_is_not_reported(condition: str) -> None:
    """No finding where the input may be so."""
    assert codes(a_flow(f'a: {{handler: x.a, if: "{condition}"}}', INPUT)) == []


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("input.plan == 'premum'", "PF250"),
        ("input.plan not in ['fre']", "PF250"),
        ("'premum' != input.plan", "PF250"),
        ("input.n == 'x'", "PF250"),
        ("input.n == true", "PF250"),
        ("input.u.k == 5", "PF250"),
        ("input.n < 'x'", "PF251"),
        ("'x' < input.n", "PF251"),
        ("input.u.k >= 5", "PF251"),
    ],
)
def test_a_comparison_that_never_holds_is_reported_once(condition: str, code: str) -> None:
    """By the type, the enum, or the order of the field."""
    assert codes(a_flow(f'a: {{handler: x.a, if: "{condition}"}}', INPUT)) == [code]


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ("b: {handler: x.b, depends_on: {a: failure}}, c: {handler: x.c, depends_on: [b]}", None),
        ("b: {handler: x.b, depends_on: [a]}, c: {handler: x.c, depends_on: {b: failure}}", None),
        ("b: {handler: x.b}, c: {handler: x.c, depends_on: {a: failure, b: any}}", None),
        (
            (
                "b: {handler: x.b, depends_on: [a]},"
                " c: {handler: x.c, depends_on: {a: failure, b: failure}}"
            ),
            "PF261",
        ),
        (
            (
                "b: {handler: x.b, depends_on: {a: failure}}, c: {handler: x.c, depends_on: [a]},"
                " d: {handler: x.d, depends_on: [b, c]}, e: {handler: x.e, depends_on: [d]}"
            ),
            "PF261",
        ),
        ("b: {handler: x.b, if: false}, c: {handler: x.c, depends_on: [b]}", None),
        ("b: {handler: x.b, if: false}, c: {handler: x.c, depends_on: {b: failure}}", "PF260"),
        (
            (
                "b: {handler: x.b, if: false, when_unmet: fail},"
                " c: {handler: x.c, depends_on: {b: failure}}"
            ),
            None,
        ),
        (
            (
                "b: {handler: x.b, if: false, when_unmet: skip-cascade},"
                " c: {handler: x.c, depends_on: [b]}, d: {handler: x.d, depends_on: [c]}"
            ),
            "PF260",
        ),
        ("b: {wait: {for: 5s}}, c: {handler: x.c, depends_on: {b: failure}}", "PF260"),
        ("b: {wait: {event: e}}, c: {handler: x.c, depends_on: {b: failure}}", None),
    ],
)
def test_a_step_that_can_never_run_is_reported_at_its_first_cause(
    steps: str, code: str | None
) -> None:
    """Its dependents cause no finding, and neither does a step that may run."""
    assert codes(a_flow(f"a: {{handler: x.a}}, {steps}")) == ([code] if code else [])


def test_a_map_over_what_is_no_list_is_reported() -> None:
    """By the type of the field, of the whole input, or of the literal."""
    for wrong in ("input", "input.n", "input.u.k", "1 + 1", "'\"text\"'"):
        assert codes(a_flow(f"a: {{handler: x.a, map: {wrong}}}", INPUT)) == ["PF255"], wrong
    for right in ("input.l", "input.any", "input.u.other", "'[1] + [2]'", "range(3)"):
        assert codes(a_flow(f"a: {{handler: x.a, map: {right}}}", INPUT)) == [], right
    whole = a_flow("a: {handler: x.a, map: input}", "input_schema: {type: array}")
    assert codes(whole) == []


def test_findings_about_meaning_stand_where_the_text_does() -> None:
    """Columns count in the file: quotes, folding and escapes are not in the way."""
    text = (
        "flow: a\ninput: {n: {type: integer}}\nsteps:\n  a:\n    handler: x.a\n"
        "    if: \"\\u0074rue and input.n == 'x'\"\n"
        "  b:\n    handler: x.b\n    if: >\n      input.n == 1 or\n      input.n == 'y'\n"
    )

    spans = [finding.span for finding in check(text).diagnostics]

    assert [(s.line, s.column, s.end_column) for s in spans if s] == [(6, 24, 38), (11, 7, 21)]
