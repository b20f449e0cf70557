"""Where the boxes and curves of a drawing stand, and how large drawings are folded."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node, with_statuses
from pgflow_yaml.language.graph.folding import fold
from pgflow_yaml.language.graph.layout import lay_out
from pgflow_yaml.language.graph.page import place as place_on_page
from pgflow_yaml.language.graph.svg import place
from tests.unit.drawings import a_drawing, drawings

if TYPE_CHECKING:
    from pgflow_yaml.language.graph.sheet import Box, Curve, Sheet


def apart(one: Box, other: Box) -> bool:
    """Return True when two boxes do not touch."""
    beside = one.x + one.width < other.x or other.x + other.width < one.x
    return beside or one.y + one.height < other.y or other.y + other.height < one.y


def touches(curve: Curve, box: Box) -> bool:
    """Return True when a horizontal piece of a curve crosses a box."""
    return any(
        y == next_y
        and box.y <= y <= box.y + box.height
        and x < box.x + box.width
        and next_x > box.x
        for (x, y), (next_x, next_y) in pairwise(curve.points)
    )


@given(drawings(), drawings(4))
def test_boxes_do_not_overlap_and_edges_go_right(drawing: Drawing, final: Drawing) -> None:
    """Any flow: boxes stand apart, on the sheet; edges lead right and never through a box."""
    nodes = tuple(replace(n, slug=f"f_{n.slug}", section="finally") for n in final.nodes)
    edges = tuple(Edge(source=f"f_{e.source}", target=f"f_{e.target}") for e in final.edges)
    both = replace(drawing, nodes=drawing.nodes + nodes, edges=drawing.edges + edges)

    check_sheet(place(both), both)
    check_sheet(place_on_page(both), both)


def check_sheet(page: Sheet, both: Drawing) -> None:
    """Check where everything stands."""
    assert {box.node.slug for box in page.boxes} == {node.slug for node in both.nodes}
    assert all(apart(one, other) for one, other in combinations(page.boxes, 2))
    assert sorted((c.edge.source, c.edge.target) for c in page.curves) == sorted(
        (e.source, e.target) for e in both.edges
    )
    for curve in page.curves:
        assert all(x < next_x for (x, _), (next_x, _) in pairwise(curve.points))
        others = [
            b for b in page.boxes if b.node.slug not in (curve.edge.source, curve.edge.target)
        ]
        assert not any(touches(curve, box) for box in others)
    assert all(b.x > 0 and b.y > 0 for b in page.boxes)
    assert all(b.x + b.width < page.width for b in page.boxes)
    assert all(b.y + b.height < page.height for b in page.boxes)


@given(drawings())
def test_text_rows_keep_the_order_of_a_layer(drawing: Drawing) -> None:
    """No two cells of a layer share a row, in either measure."""
    layout = lay_out(drawing)

    for layer in layout.layers:
        assert all(layout.lines[a] < layout.lines[b] for a, b in pairwise(layer))
        assert all(layout.rows[b] - layout.rows[a] > 0.999 for a, b in pairwise(layer))


def test_crossings_are_avoided() -> None:
    """Children are sorted by their parents."""
    layout = lay_out(a_drawing(a="", b="", c="", y="b", x="a", z="c"))

    assert layout.layers == [["a", "b", "c"], ["x", "y", "z"]]


def windowed(steps: int, window: int) -> Drawing:
    """Each step after three of those just before it."""
    names = [f"s{number}" for number in range(steps)]
    return a_drawing(
        **{
            name: " ".join(sorted({names[max(0, n - 1 - (n * k) % window)] for k in (1, 2, 3)}))
            if n
            else ""
            for n, name in enumerate(names)
        }
    )


LARGE = {
    "chain": lambda: a_drawing(s0="", **{f"s{n}": f"s{n - 1}" for n in range(1, 1000)}),
    "fan": lambda: a_drawing(
        a="", **{f"s{n}": "a" for n in range(998)}, z=" ".join(f"s{n}" for n in range(998))
    ),
    "window": lambda: windowed(1000, 20),
    "wide window": lambda: windowed(1000, 300),
    "islands": lambda: a_drawing(**{f"s{n}": "" for n in range(1000)}),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_thousand_steps_are_laid_out_at_once(name: str) -> None:
    """200 ms with the folding, in processor time, at three times the figure; 200 nodes at most."""
    drawing = LARGE[name]()
    begin = time.process_time()

    small = fold(drawing)
    page = place(small)

    assert time.process_time() - begin < 3 * 0.2
    assert len(page.boxes) == len(small.nodes) <= 200
    assert sum(len(node.folded) or 1 for node in small.nodes) == 1000


def test_two_hundred_steps_that_all_follow_each_other_are_laid_out_at_once() -> None:
    """The most edges that so few nodes can have; those that follow from others are left out."""
    slugs = [f"s{number}" for number in range(200)]
    drawing = a_drawing(**{slug: " ".join(slugs[:number]) for number, slug in enumerate(slugs)})
    begin = time.process_time()

    page = place(fold(drawing))

    assert time.process_time() - begin < 3 * 0.2
    assert len(page.curves) == 199


def test_a_small_drawing_is_left_alone() -> None:
    """200 nodes are few enough."""
    drawing = a_drawing(**{f"s{number}": "" for number in range(200)})

    assert fold(drawing) == drawing


def test_steps_between_the_same_others_are_folded_first() -> None:
    """A wide middle becomes one node that says how many it holds; its edges stay."""
    drawing = fold(LARGE["fan"]())

    assert [node.label for node in drawing.nodes] == ["a", "998 steps", "z"]
    assert drawing.nodes[1].notes == ("s0 … s997",)
    assert [(e.source, e.target) for e in drawing.edges] == [("a", "s0"), ("s0", "z")]


def test_steps_of_different_status_are_not_folded_into_each_other() -> None:
    """A failed one among a thousand is seen."""
    fan = LARGE["fan"]()
    statuses = {node.slug: "completed" for node in fan.nodes} | {"s500": "failed"}

    drawing = fold(with_statuses(fan, statuses, {}))

    assert {node.label: node.status for node in drawing.nodes} == {
        "a": "completed",
        "997 steps": "completed",
        "s500": "failed",
        "z": "completed",
    }


def test_a_folded_level_shows_the_status_that_matters() -> None:
    """Where levels are folded, the worst of them wins."""
    chain = LARGE["chain"]()
    statuses = {node.slug: "completed" for node in chain.nodes} | {"s501": "failed"}

    drawing = fold(with_statuses(chain, statuses, {}))

    (failed,) = (node for node in drawing.nodes if node.status == "failed")
    assert "s501" in failed.folded


def test_an_empty_section_needs_no_room() -> None:
    """A flow has steps; a test of the layout may have none."""
    page = place(Drawing(flow="x", nodes=(Node(slug="a", label="a"),), edges=()))

    assert len(page.boxes) == 1
    assert page.headings == ()
