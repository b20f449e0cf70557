"""Costs of expressions: one table, which `pgflow.expression_cost` repeats in SQL.

Work is counted in steps. A node that is evaluated in a loop is one step, an item that a function
walks over is one, and so is each portion of the bytes that an operation reads or makes. Bytes are
those of PostgreSQL's jsonb, so that both evaluators count the same (see `weights.py`).
"""

from __future__ import annotations

from pgflow_yaml.language.expressions.findings import ExpressionError

MAX_STEPS = 200_000
MAX_MADE = 5_242_880
"""Bytes of a value that an expression makes; its JSON would be larger than 1 MiB."""
FREE = 10
"""A function that walks over fewer items costs nothing."""
FREE_BYTES = 1_000
"""A function or template that reads or makes fewer bytes pays only for items."""

COSTS = {
    # bytes a step
    "read": 4_000,
    "+": 1_000,
    "==": 200,
    "in": 200,
    "len": 1_000,
    "call": 100,
    "write": 80,
    # items a step
    "scan": 10,
    "numbers": 4,
    # products of bytes a step: a search may compare each position, a product multiplies each digit
    "search": 2_500,
    "digits": 20_000,
}
WRITING = frozenset({"str", "to_json", "join"})
"""Functions that write values as JSON, as templates do."""
SEARCHING = frozenset({"split", "replace"})
ORDERING = frozenset({"min", "max", "sum", "sorted"})
"""Functions that compute with each item: it is `ORDERING_STEPS` steps more."""
ORDERING_STEPS = 2


def too_large() -> ExpressionError:
    """Return the error of a value that is too large."""
    return ExpressionError("the value is larger than 1 MiB")


def too_long() -> ExpressionError:
    """Return the error of an evaluation that takes too many steps."""
    return ExpressionError(f"the expression takes more than {MAX_STEPS:,} steps")
