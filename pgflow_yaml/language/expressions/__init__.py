"""The expression language: parse a text into a JSON tree, evaluate a tree over JSON values."""

from __future__ import annotations

from pgflow_yaml.language.expressions.evaluator import evaluate
from pgflow_yaml.language.expressions.findings import (
    Comparison,
    ExpressionError,
    Finding,
    InvalidExpression,
    Reference,
)
from pgflow_yaml.language.expressions.parser import Expression
from pgflow_yaml.language.expressions.secrets import misused_secrets, secret_message
from pgflow_yaml.language.expressions.templates import parse_expression, parse_template, unescape
from pgflow_yaml.language.expressions.writing import write_expression, write_template

__all__ = [
    "Comparison",
    "Expression",
    "ExpressionError",
    "Finding",
    "InvalidExpression",
    "Reference",
    "evaluate",
    "misused_secrets",
    "parse_expression",
    "parse_template",
    "secret_message",
    "unescape",
    "write_expression",
    "write_template",
]
