"""Meaning of `concurrency` and `rate_limit`: how many at once, how many in a time, per key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.language.model import Concurrency, RateLimit
from pgflow_yaml.language.source import MappingNode, ScalarNode
from pgflow_yaml.language.validation.comparisons import schema_of
from pgflow_yaml.language.validation.constants import constant
from pgflow_yaml.language.validation.step_options import duration, integer

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Formula, WhenFull
    from pgflow_yaml.language.source import Node
    from pgflow_yaml.language.validation.findings import Report
    from pgflow_yaml.language.validation.formulas import Formulas
    from pgflow_yaml.language.validation.names import Context

DEFAULT_PER = 1_000
_OBJECTS = (["path", "input"], ["path", "headers"])


def read_concurrency(
    report: Report, mapping: MappingNode, formulas: Formulas, *, step: str | None = None
) -> Concurrency | None:
    """Read the limit of a flow, or of a step, whose tasks can do nothing but wait."""
    node = report.value(mapping, "concurrency")
    if isinstance(node, ScalarNode):
        limit = integer(node)
        return None if limit is None else Concurrency(limit=limit)
    if not isinstance(node, MappingNode):
        return None
    if step is not None and "when_full" in node.entries:
        message = f'concurrency of step "{step}" has a when_full, and a step can only wait'
        fix = "remove it, or limit the runs: write `concurrency` at the top of the flow"
        report.add("PF205", message, node.entries["when_full"][0], fix=fix)
    limit = integer(report.value(node, "limit"))
    key = read_key(report, node, formulas, "concurrency.key")
    if limit is None:
        return None
    return Concurrency(
        limit=limit,
        key=key,
        when_full=cast("WhenFull", report.text(node, "when_full") or "queue"),
    )


def read_rate_limit(report: Report, mapping: MappingNode, formulas: Formulas) -> RateLimit | None:
    """Read how many attempts may start in a time."""
    node = report.value(mapping, "rate_limit")
    if not isinstance(node, MappingNode):
        return None
    limit = integer(report.value(node, "limit"))
    key = read_key(report, node, formulas, "rate_limit.key")
    per = duration(report, node, "per")
    if per is not None and per < 1:
        message = "a rate counts the starts in a time of at least 1 ms"
        report.add("PF109", message, node.entries["per"][1], fix="write per: 1s")
    if limit is None:
        return None
    return RateLimit(limit=limit, per=DEFAULT_PER if per is None else per, key=key)


def read_key(
    report: Report, mapping: MappingNode, formulas: Formulas, context: Context
) -> Formula | None:
    """Read an expression whose value tells one thing from another; report lists and objects."""
    node: Node | None = report.value(mapping, "key")
    formula = formulas.expression(node, context)
    kind = None if formula is None else _kind(formula.ast, formulas)
    if kind is not None and isinstance(node, ScalarNode):
        message = f"a key is a text, a number or a boolean, and this is {kind}"
        example = "body.id" if context == "webhook.key" else "input.customer"
        report.add("PF106", message, node, fix=f"name one value: `key: {example}`")
    return formula


def _kind(ast: Any, formulas: Formulas) -> str | None:
    """Return what a key is that is certain to be a list or an object; None for others."""
    known = constant(ast)
    value = known[0] if known is not None else None
    if isinstance(value, list) or ast[0] == "list":
        return "a list"
    if isinstance(value, dict) or ast[0] == "dict" or ast in _OBJECTS:
        return "an object"
    schema = schema_of(ast[1], formulas.scope.fields) if ast[0] == "path" else None
    return {"array": "a list", "object": "an object"}.get(str((schema or {}).get("type")))
