"""Errors of expressions in a run: shown in the text of the flow, under the expression itself."""

from __future__ import annotations

import pytest

from pgflow_yaml.language import frames
from pgflow_yaml.language.validation.error_positions import error_finding

FLOW = """\
flow: order
defaults: {retry: {if: attempt + error.type}}
steps:
  charge:
    handler: shop.charge
    if: input.total > "5"
    with:
      total: ${{ input.total / input.parts }}
      text: "${{ input.a + 1 }} and ${{ len(input.b) }}, ${{ input.c * 2 }}"
    repeat: {until: output.n % 0}
  pause: {wait: {for: 1 / input.parts}}
output: ${{ steps.charge.output / 0 }}
finally:
  audit: {handler: shop.audit, map: "[x + 1 for x in steps.charge.output]"}
"""


def marked(step: str | None, message: str) -> str | None:
    """The text under the caret."""
    finding = error_finding(FLOW, flow="a", step=step, message=message)
    if finding is None or finding.span is None:
        return None
    line = FLOW.split("\n")[finding.span.line - 1]
    return line[finding.span.column - 1 : finding.span.end_column - 1]


@pytest.mark.parametrize(
    ("step", "message", "text"),
    [
        ("charge", "if: `>` cannot compare a number with a text", 'input.total > "5"'),
        ("charge", "with: `+` cannot join a text and a number", "${{ input.a + 1 }}"),
        ("charge", "`+` cannot join a text and a number", "${{ input.a + 1 }}"),
        ("charge", "with: len() does not take null", "${{ len(input.b) }}"),
        ("charge", "with: `/` cannot divide by a text", "${{ input.total / input.parts }}"),
        ("charge", "repeat.until: division by zero", "output.n % 0"),
        ("charge", "retry.if: `+` cannot join", "attempt + error.type"),
        ("pause", "wait.for: division by zero", "1 / input.parts"),
        ("pause", 'wait.for needs seconds or a duration such as "10m", not []', "1 / input.parts"),
        ("audit", "map: `+` cannot join", "[x + 1 for x in steps.charge.output]"),
        (None, "output: division by zero", "${{ steps.charge.output / 0 }}"),
        ("charge", "with: division by zero", "${{ input.total / input.parts }}"),
        (
            "charge",
            "with: the value is larger than 1 MiB",
            "total: ${{ input.total / input.parts }}",
        ),
        ("nobody", "if: anything", None),
    ],
)
def test_the_caret_is_under_the_expression_that_has_no_value(
    step: str | None, message: str, text: str | None
) -> None:
    """The key, and where it holds several, the operator or function that the message names."""
    assert marked(step, message) == text


def test_the_frame_is_that_of_a_finding() -> None:
    """One look for mistakes, before a run and in it."""
    finding = error_finding(FLOW, flow="a", step="charge", message="if: `>` cannot compare these")
    assert finding is not None

    assert frames.render(finding, file="order.flow.yaml", source=FLOW) == (
        'order.flow.yaml:6:9: error[ExpressionError]: step "charge": `>` cannot compare these\n'
        "  │\n"
        '6 │     if: input.total > "5"\n'
        "  │         ^^^^^^^^^^^^^^^^^"
    )
