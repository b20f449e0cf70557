"""Meaning of `after`, and of `handles`: what follows the end or wait of a run, and a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.model import After
from pgflow_yaml.language.source import MappingNode, ScalarNode
from pgflow_yaml.language.validation.step_options import boolean, texts

if TYPE_CHECKING:
    from pgflow_yaml.language.validation.findings import Report


def read_after(report: Report, root: MappingNode) -> After | None:
    """Read `after`; report an input beside it, and a flow that names only itself."""
    node = report.value(root, "after")
    if not isinstance(node, MappingNode):
        return None
    for key in ("input", "input_schema"):
        if report.has(root, key):
            message = f'the flow has both "after" and "{key}"; the ends of others are its input'
            at = root.entries[key][0] if key in root.entries else node
            report.add("PF205", message, at, fix="remove it, and read input.flow, input.error, …")
    flows = texts(report.value(node, "flows"))
    if flows and set(flows) == {report.text(root, "flow")}:
        message = f'flow "{flows[0]}" names only itself, and hears no end of its own'
        report.add("PF205", message, node.entries["flows"][1], fix="name other flows, or `*`")
    status = texts(report.value(node, "status")) or ("failed",)
    # sorted: the order in the file means nothing, and makes no version
    return After(flows=tuple(sorted(flows)), status=tuple(sorted(status)))


def read_handles(report: Report, name: str, step: MappingNode, *, final: bool) -> bool:
    """Read `handles` of a step; report one where no failure could be handled."""
    written = boolean(report.value(step, "handles"))
    if written is None:
        return True
    edges = step.get("depends_on")
    handles = isinstance(edges, MappingNode) and any(
        isinstance(edge, ScalarNode) and edge.text in ("failure", "any")
        for _, edge in edges.entries.values()
    )
    if final or not handles:
        message = f'handles of step "{name}" has no effect without an edge `failure` or `any`'
        fix = "remove it, or write `depends_on: {STEP: failure}`"
        if final:
            message = f'handles of step "{name}" has no effect in `finally`, which handles nothing'
            fix = "remove it"
        report.add("PF205", message, step.entries["handles"][0], fix=fix)
    return written
