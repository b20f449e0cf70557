"""Drawings for Mermaid, Graphviz and as SVG; names cannot break out of them."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node, of_definition, with_statuses
from pgflow_yaml.language.graph.formats import dot, mermaid
from pgflow_yaml.language.graph.svg import svg
from pgflow_yaml.language.model import Definition
from tests.unit.drawings import a_drawing

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    'a"b',
    "c\\",
    "<script>alert(1)</script>",
    "x]--> y",
    "line\nbreak",
    "\ufffe\x00&amp;",
    "e\x1b[2J",
]


def hostile() -> Drawing:
    """Names that no flow file may have; a drawing could come from elsewhere one day."""
    nodes = tuple(Node(slug=name, label=name, notes=(name,)) for name in HOSTILE)
    edges = tuple(Edge(source=HOSTILE[0], target=name, kind="any") for name in HOSTILE[1:])
    return Drawing(flow=HOSTILE[2], nodes=nodes, edges=edges)


FLOW = Definition(
    name="order",
    version="0123456789ab",
    body={
        "flow": "order",
        "steps": {
            "ship": {"flow": "shipping", "depends_on": {"charge": "success"}, "map": {}},
            "charge": {"handler": "m.charge", "depends_on": {}, "if": {}},
            "release": {"handler": "m.release", "depends_on": {"charge": "failure"}},
            "end": {"wait": {"event": "approval"}, "depends_on": {"release": "any"}},
            "pause": {"wait": {"for": 600_000}, "depends_on": {}},
            "later": {"wait": {"until": {}}, "depends_on": {}, "initial_tasks": 3},
        },
        "finally": {"audit": {"handler": "m.audit", "depends_on": {}, "repeat": {}}},
    },
    order=("charge", "pause", "later", "ship", "release", "end", "audit"),
    description=None,
    source="",
)


def test_a_definition_is_drawn_in_the_order_of_its_steps() -> None:
    """With a few words for what is not plain."""
    drawing = of_definition(FLOW)

    assert [node.text for node in drawing.nodes] == [
        "charge [if]",
        "pause [waits 10m]",
        "later [waits for a time, 3 tasks]",
        "ship [flow shipping, map]",
        "release",
        "end [waits for approval]",
        "audit [repeat]",
    ]
    assert {(e.source, e.target, e.kind) for e in drawing.edges} == {
        ("charge", "ship", "success"),
        ("charge", "release", "failure"),
        ("release", "end", "any"),
    }


def test_mermaid() -> None:
    """Edges have their kind; a step called `end` is no end; a run has its colours."""
    small = replace(of_definition(FLOW), nodes=of_definition(FLOW).nodes[4:], edges=())
    drawing = with_statuses(
        replace(small, edges=(Edge(source="release", target="end", kind="failure"),)),
        {"end": "failed"},
        {},
    )

    assert mermaid(drawing) == (
        "flowchart LR\n"
        '  s_release["release"]\n'
        '  s_end["end #91;waits for approval#93;"]\n'
        '  subgraph finally_steps["finally"]\n'
        '    s_audit["audit #91;repeat#93;"]\n'
        "  end\n"
        "  s_release -. failure .-> s_end\n"
        "  classDef failed stroke:#c62828,stroke-width:2px,color:#c62828\n"
        "  class s_end failed\n"
    )


def test_dot() -> None:
    """Nodes with labels, edges with kinds, finally in a cluster."""
    text = dot(with_statuses(of_definition(FLOW), {"charge": "completed"}, {}))

    assert text.startswith('digraph "order" {\n  rankdir=LR;\n')
    assert '  "charge" [label="charge [if]", color="#2e7d32"];\n' in text
    assert '  "charge" -> "release" [label="failure", style=dashed];\n' in text
    assert '  subgraph cluster_finally {\n    label="finally";\n    "audit" [' in text
    assert text.endswith("}\n")


def test_names_cannot_break_out_of_mermaid() -> None:
    """Between the quotes of a label stand only harmless characters; ids are ours."""
    for line in mermaid(hostile()).splitlines()[1:]:
        assert re.fullmatch(r'  (n\d+\["[\w .,:;/@…#-]*"\]|n\d+ (-->|-\. any \.->) n\d+)', line), (
            line
        )


def test_names_cannot_break_out_of_dot() -> None:
    """Each line is made of whole quoted texts."""
    quoted = r'"(?:[^"\\\n]|\\["\\])*"'
    lines = dot(hostile()).splitlines()

    assert re.fullmatch(rf"digraph {quoted} {{", lines[0])
    for line in lines[4:-1]:
        assert re.fullmatch(
            rf"  {quoted} (\[label={quoted}\]|-> {quoted} \[label=\"any\", style=dashed\]);", line
        ), line


def test_names_cannot_break_out_of_svg() -> None:
    """It parses, and has the elements that we put there."""
    root = ET.fromstring(svg(hostile()))
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}

    assert tags == {"svg", "title", "style", "defs", "marker", "path", "g", "rect", "text"}
    shown = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert shown[2].startswith("<script>alert(1)</script>")
    assert not any("\x1b" in text or "\n" in text for text in shown)


def test_svg_has_a_box_and_a_name_for_each_step_and_a_curve_for_each_edge() -> None:
    """Whoever cannot see it hears the titles."""
    drawing = with_statuses(of_definition(FLOW), {"charge": "failed", "ship": "skipped"}, {})
    root = ET.fromstring(svg(drawing))

    groups = root.findall(f"{SVG}g")
    titles = [group.findtext(f"{SVG}title") for group in groups]
    assert titles[0] == "charge [if]: failed"
    assert [group.get("class") for group in groups[:4]] == [
        "node failed",
        "node",
        "node",
        "node skipped",
    ]
    assert groups[0].findtext(f"{SVG}text") == "✗ charge [if]"
    curves = root.findall(f"{SVG}path")
    assert [curve.get("class") for curve in curves].count("edge failure") == 1
    assert "finally" in [text.text for text in root.findall(f"{SVG}text")]
    assert root.findtext(f"{SVG}title") == "flow order"


def test_a_long_name_is_cut_in_its_box_and_whole_in_its_title() -> None:
    """128 characters are allowed."""
    name = "n" * 128
    root = ET.fromstring(svg(a_drawing(**{name: ""})))

    (group,) = root.findall(f"{SVG}g")
    assert (group.findtext(f"{SVG}text") or "").endswith("…")
    assert group.findtext(f"{SVG}title") == name


@pytest.mark.parametrize("write", [mermaid, dot, svg])
def test_a_folded_node_says_what_it_holds(write: object) -> None:
    """Its label has the count, its note the first and the last."""
    assert callable(write)
    node = Node(slug="a", label="3 steps", notes=("a … c",), folded=("a", "b", "c"))

    assert "3 steps" in write(Drawing(flow="x", nodes=(node,), edges=()))
