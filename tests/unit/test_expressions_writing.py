"""Trees written as text again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given

from pgflow_yaml.language.expressions import (
    ExpressionError,
    InvalidExpression,
    evaluate,
    parse_expression,
    parse_template,
    write_expression,
    write_template,
)
from pgflow_yaml.language.expressions.values import equal
from tests.expression_trees import environments, trees

ROOTS = frozenset({"input", "steps", "run", "item", "index"})


@pytest.mark.parametrize(
    "text",
    [
        'input.plan == "premium" and steps.score.output.value > 0.8',
        'steps.fetch.output.rows[0]["content-type"] in ["csv", "json"]',
        "[u.id for u in input.users if u.active]",
        '"eu" if input.country in ["DE", "FR"] else "us"',
        "default(steps.cached.output, steps.fresh.output)",
        "(input.a + 1) * 2 - (3 - input.b) / -input.c",
        "not (input.a or input.b) and not input.c",
        "[k + v for k, v in items(input.o)]",
        '{"a": input.a, "b c": [1, -2.5, null, true]}',
        "(input.a if input.b else input.c) if input.d else input.e",
        'input["a"].b',
        "(-1)[input.x]",
        "-(input.x)[0].y",
        "(input.a < input.b) == (input.c < input.d)",
        "input.a % 2 == 0",
    ],
)
def test_what_a_person_writes_comes_back(text: str) -> None:
    """The tree of the written text is the tree that was written."""
    tree = parse_expression(text, roots=ROOTS).ast

    assert parse_expression(write_expression(tree), roots=ROOTS).ast == tree


@pytest.mark.parametrize(
    "text", ["${{ input.a }}", "order ${{ input.a }} of ${{ input.b + 1 }}!", "$${{ ${{ item }}"]
)
def test_a_template_comes_back(text: str) -> None:
    """Its texts and what is computed between them."""
    expression = parse_template(text, roots=ROOTS)

    assert expression is not None
    assert write_template(expression.ast) == text


def test_a_whole_value_is_written_as_json_with_templates() -> None:
    """A mapping under `with` is written as one value."""
    tree: Any = ["dict", "a", ["lit", 1], "b", ["list", ["path", "item"], ["lit", "x"]]]

    assert write_template(tree) == '{"a": 1, "b": [${{ item }}, "x"]}'


@given(trees(), environments())
def test_the_text_means_what_the_tree_means(tree: Any, env: Any) -> None:
    """Any tree: its text evaluates to the same value, or is as wrong."""
    assume('"text", [' not in json.dumps(tree))  # no file has a template inside an expression
    text = write_expression(tree)
    try:
        read = parse_expression(text, roots=ROOTS)
    except InvalidExpression as error:
        # Longer or deeper than what a file may hold; or a number, or character, that none has.
        assume(not {f.code for f in error.findings} <= {"PF220", "PF218", "PF223", "PF221"})
        raise

    assert equal(outcome(read.ast, env), outcome(tree, env)), text


def outcome(tree: Any, env: Any) -> Any:
    """The value in a list, or nothing where there is none."""
    try:
        return [evaluate(tree, env)]
    except ExpressionError:
        return []
