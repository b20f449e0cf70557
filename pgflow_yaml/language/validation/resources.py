"""Meaning of `resources`: what a step needs of the worker that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language import sizes
from pgflow_yaml.language.resources import MEMORY
from pgflow_yaml.language.source import MappingNode, ScalarNode

if TYPE_CHECKING:
    from pgflow_yaml.language.validation.findings import Report


def read_resources(report: Report, step: MappingNode) -> dict[str, float]:
    """Read the amounts by name, memory in bytes; amounts that are no numbers were reported."""
    node = report.value(step, "resources")
    if not isinstance(node, MappingNode):
        return {}
    found: dict[str, float] = {}
    for name in node.entries:
        value = report.value(node, name)
        if not isinstance(value, ScalarNode):
            continue
        amount = value.value
        if name == MEMORY and isinstance(amount, str):
            amount = sizes.byte_count(amount)
            if amount is None:
                report.add("PF109", "a size of memory is at least 1 byte", value, fix="write 1GB")
        if isinstance(amount, int | float) and not isinstance(amount, bool):
            found[name] = int(amount) if float(amount).is_integer() else amount
    return found
