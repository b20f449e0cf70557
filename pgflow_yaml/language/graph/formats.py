"""Write a drawing for other programs: Mermaid and Graphviz DOT, with names escaped for each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.language.model import SECTIONS
from pgflow_yaml.text import safe

if TYPE_CHECKING:
    from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node

COLORS = {
    "completed": "#2e7d32",
    "started": "#0277bd",
    "waiting": "#6a1b9a",
    "created": "#757575",
    "failed": "#c62828",
    "skipped": "#6b6b6b",
    "cancelled": "#ad1457",
}
_PLAIN = re.compile(r"[A-Za-z0-9_]+")
# Characters with a meaning in Mermaid, or in the HTML that it generates.
_MERMAID_UNSAFE = re.compile(r"[^\w .,:;/@…-]")


def mermaid(drawing: Drawing) -> str:
    """Return a Mermaid flowchart."""
    names = {node.slug: _mermaid_name(number, node) for number, node in enumerate(drawing.nodes)}
    lines = ["flowchart LR"]
    for section in SECTIONS:
        inside = [node for node in drawing.nodes if node.section == section]
        indent = "  "
        if section == "finally" and inside:
            lines.append('  subgraph finally_steps["finally"]')
            indent = "    "
        lines += [f'{indent}{names[node.slug]}["{_mermaid_text(node.text)}"]' for node in inside]
        if indent != "  ":
            lines.append("  end")
    for edge in drawing.edges:
        arrow = "-->" if edge.kind == "success" else f"-. {edge.kind} .->"
        lines.append(f"  {names[edge.source]} {arrow} {names[edge.target]}")
    for status, color in COLORS.items():
        shown = [names[node.slug] for node in drawing.nodes if node.status == status]
        if shown:
            lines.append(f"  classDef {status} stroke:{color},stroke-width:2px,color:{color}")
            lines.append(f"  class {','.join(shown)} {status}")
    return "\n".join(lines) + "\n"


def _mermaid_name(number: int, node: Node) -> str:
    """Return the id of a node; the prefix keeps `end` from being read as a word of Mermaid."""
    return f"s_{node.slug}" if _PLAIN.fullmatch(node.slug) else f"n{number}"


def _mermaid_text(text: str) -> str:
    return _MERMAID_UNSAFE.sub(lambda match: f"#{ord(match.group())};", safe(text))


def dot(drawing: Drawing) -> str:
    """Return a Graphviz digraph."""
    lines = [
        f"digraph {_dot_text(drawing.flow)} {{",
        "  rankdir=LR;",
        '  node [shape=box, style=rounded, fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize=10];',
    ]
    for section in SECTIONS:
        inside = [node for node in drawing.nodes if node.section == section]
        if section == "finally" and inside:
            lines += ["  subgraph cluster_finally {", '    label="finally";']
            lines += [f"    {_dot_node(node)}" for node in inside]
            lines.append("  }")
        else:
            lines += [f"  {_dot_node(node)}" for node in inside]
    lines += [f"  {_dot_edge(edge)}" for edge in drawing.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _dot_node(node: Node) -> str:
    color = f', color="{COLORS[node.status]}"' if node.status in COLORS else ""
    return f"{_dot_text(node.slug)} [label={_dot_text(node.text)}{color}];"


def _dot_edge(edge: Edge) -> str:
    kind = "" if edge.kind == "success" else f' [label="{edge.kind}", style=dashed]'
    return f"{_dot_text(edge.source)} -> {_dot_text(edge.target)}{kind};"


def _dot_text(text: str) -> str:
    escaped = safe(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
