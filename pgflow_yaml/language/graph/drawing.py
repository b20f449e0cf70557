"""Drawing of a flow or a run: nodes with labels and notes, and edges with their kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.graph.order import as_listed
from pgflow_yaml.language.model import SECTIONS, inner_name
from pgflow_yaml.language.waits import wait_note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Definition, Section
    from pgflow_yaml.language.model import Edge as EdgeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Step, or several steps folded into one; `status` is set in the picture of a run."""

    slug: str
    label: str
    section: Section = "steps"
    notes: tuple[str, ...] = ()
    status: str | None = None
    folded: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The label with its notes."""
        return f"{self.label} [{', '.join(self.notes)}]" if self.notes else self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Dependency, drawn from the step that runs first to the one after it."""

    source: str
    target: str
    kind: EdgeKind = "success"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Nodes and edges to be drawn; edges name nodes of the drawing, and have no cycle."""

    flow: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def section(self, name: Section) -> Drawing:
        """Return the part with the nodes of one section and the edges to them."""
        nodes = tuple(node for node in self.nodes if node.section == name)
        slugs = {node.slug for node in nodes}
        edges = tuple(edge for edge in self.edges if edge.target in slugs)
        return replace(self, nodes=nodes, edges=edges)

    def parents(self) -> dict[str, list[str]]:
        """Return the dependencies of each node, by slug."""
        parents: dict[str, list[str]] = {node.slug: [] for node in self.nodes}
        for edge in self.edges:
            parents[edge.target].append(edge.source)
        return parents


def of_definition(definition: Definition) -> Drawing:
    """Return the drawing of a version of a flow."""
    body: dict[str, Any] = definition.body
    nodes, edges = [], []
    for section in SECTIONS:
        steps = body.get(section, {})
        for slug in as_listed(steps, definition.order):
            nodes.append(_node(slug, _shown(steps[slug], slug, definition.name), section))
            edges += [
                Edge(source=source, target=slug, kind=kind)
                for source, kind in steps[slug].get("depends_on", {}).items()
                if source in steps
            ]
    return Drawing(flow=definition.name, nodes=tuple(nodes), edges=tuple(edges))


def with_statuses(
    drawing: Drawing, statuses: Mapping[str, str], notes: Mapping[str, str]
) -> Drawing:
    """Return the drawing of a run: each node with its status, and its note if it has one."""
    nodes = [
        replace(
            node,
            status=statuses.get(node.slug),
            notes=(*node.notes, notes[node.slug]) if node.slug in notes else node.notes,
        )
        for node in drawing.nodes
    ]
    return replace(drawing, nodes=tuple(nodes))


def _shown(step: Mapping[str, Any], slug: str, flow: str) -> Mapping[str, Any]:
    """Return a step without the version of the flow that is written in it."""
    name = str(step.get("flow")).partition("@")[0]
    return {**step, "flow": name} if name == inner_name(flow, slug) else step


def _node(slug: str, step: Mapping[str, Any], section: Section) -> Node:
    notes = []
    if "flow" in step:
        notes.append(f"flow {step['flow']}")
    if "wait" in step:
        notes.append(wait_note(step["wait"]))
    if "map" in step:
        notes.append("map")
    if "initial_tasks" in step:
        notes.append(f"{step['initial_tasks']} tasks")
    notes += [key for key in ("repeat", "if") if key in step]
    if "handles" in step:
        notes.append("handles nothing")
    return Node(slug=slug, label=slug, section=section, notes=tuple(notes))
