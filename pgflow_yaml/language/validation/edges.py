"""Dependencies of the steps: unknown steps, steps of the other section, cycles, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pgflow_yaml.language.graph import cycles
from pgflow_yaml.language.model import Edge
from pgflow_yaml.language.source import MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.language.validation.findings import Report, quoted
from pgflow_yaml.language.validation.messages import unknown_step

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_EDGES = 20_000  # S-19
Edges = dict[str, dict[str, Edge]]
EdgeNodes = dict[tuple[str, str], Node]


def read_edges(
    report: Report,
    steps: Mapping[str, Node],
    others: Mapping[str, object],
    *,
    final: bool,
    counted: int = 0,
) -> tuple[Edges, EdgeNodes]:
    """Read every `depends_on` of one section, with the node of each edge.

    `others` are the steps of the other section, where `counted` edges were read before.
    """
    edges: Edges = {name: {} for name in steps}
    nodes: EdgeNodes = {}
    for name, step in steps.items():
        if not isinstance(step, MappingNode):
            continue
        for item, edge in _dependencies(report, step):
            parent = item.text
            if parent in others and parent not in steps:
                _report_other_section(report, item, final=final)
            elif parent not in steps:
                unknown = unknown_step(parent, steps)
                if unknown is not None:
                    report.add("PF202", unknown.message, item, fix=unknown.fix, write=unknown.write)
            elif (name, parent) not in nodes:
                edges[name][parent] = edge
                nodes[name, parent] = item
    for cycle in cycles(edges):
        _report_cycle(report, cycle, nodes)
    total = counted + len(nodes)
    if counted <= MAX_EDGES < total:
        last = list(nodes.values())[MAX_EDGES - counted]
        message = f"the flow has {total:,} dependencies, more than {MAX_EDGES:,}"
        report.add("PF209", message, last, fix="split the flow, or let fewer steps join")
    return edges, nodes


def _dependencies(report: Report, step: MappingNode) -> list[tuple[ScalarNode, Edge]]:
    node = report.written(step, "depends_on")
    if isinstance(node, ScalarNode) and node.text:
        return [(node, "success")]
    if isinstance(node, SequenceNode):
        items = [item for item in node.items if isinstance(item, ScalarNode) and item.text]
        return [(item, "success") for item in items]
    if not isinstance(node, MappingNode):
        return []
    return [(key, _edge(report, value)) for key, value in node.entries.values()]


def _edge(report: Report, node: Node) -> Edge:
    if isinstance(node, ScalarNode) and report.usable(node):
        return cast("Edge", node.text)
    return "success"


def _report_other_section(report: Report, item: ScalarNode, *, final: bool) -> None:
    if final:
        message = f"{quoted(item.text)} is not a finally step; those depend on each other only"
        fix = "remove it: they begin when all other steps are over"
    else:
        message = f"{quoted(item.text)} is a finally step, which runs after all others"
        fix = "move this step under `finally`, or that one under `steps`"
    report.add("PF236", message, item, fix=fix)


def _report_cycle(report: Report, cycle: list[str], nodes: Mapping[tuple[str, str], Node]) -> None:
    if len(cycle) == 1:
        name = cycle[0]
        fix = f'remove "{name}" from its own depends_on'
        report.add("PF201", f'step "{name}" depends on itself', nodes[name, name], fix=fix)
        return
    edges = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    last = min(edges, key=lambda edge: nodes[edge].start)
    at = cycle.index(last[0])
    walk = [*cycle[at:], *cycle[:at], cycle[at]]
    shown = walk if len(walk) <= 12 else [*walk[:6], "…", *walk[-5:]]
    message = f"these steps wait for each other: {' → '.join(shown)}"
    fix = f'remove one of these dependencies, such as "{last[1]}" here'
    report.add("PF201", message, nodes[last], fix=fix, label="each depends on the next")
