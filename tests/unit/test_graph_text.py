"""Flows and runs as text pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node, with_statuses
from pgflow_yaml.language.graph.text import Pen, render
from tests.unit.drawings import a_drawing, drawings, read_back

PEN = Pen(symbols={"completed": "✓", "failed": "✗", "created": "○"})


def drawn(drawing: Drawing, width: int = 80, pen: Pen = PEN) -> str:
    """The lines of a picture."""
    return "\n".join(
        "".join(text for text, _ in line) for line in render(drawing, width=width, pen=pen)
    )


@pytest.mark.parametrize(
    ("drawing", "picture"),
    [
        (a_drawing(a="", b="a", c="b"), "a ─── b ─── c"),
        (
            a_drawing(start="", left="start", right="start", merge="left right"),
            "start ─┬─ left ──┬─ merge\n       ╰─ right ─╯",
        ),
        (a_drawing(a="", b="", x="a b", y="a b"), "a ─┬─ x\nb ─┴─ y"),
        (a_drawing(a="", b="", c="a"), "a ─── c\nb"),
        (a_drawing(only=""), "only"),
    ],
    ids=["chain", "diamond", "each after each", "alone", "one"],
)
def test_small_flows_are_drawn_as_a_person_would(drawing: Drawing, picture: str) -> None:
    """Names in columns, lines between them."""
    assert drawn(drawing) == picture


@given(drawings())
def test_a_picture_can_be_read_in_one_way_only(drawing: Drawing) -> None:
    """Following its lines finds the edges, all of them and no others; else there is a table."""
    picture = drawn(drawing, width=1000)
    edges = {(edge.source, edge.target) for edge in drawing.edges}

    if picture.startswith("1  "):
        return
    assert read_back(picture.split("\n"), [node.slug for node in drawing.nodes]) == edges


@given(drawings(), drawings(4))
def test_nothing_is_wider_than_the_terminal(drawing: Drawing, final: Drawing) -> None:
    """At 60 columns a table takes over where a picture does not fit."""
    nodes = tuple(replace(n, slug=f"f_{n.slug}", section="finally") for n in final.nodes)
    edges = tuple(Edge(source=f"f_{e.source}", target=f"f_{e.target}") for e in final.edges)
    both = replace(drawing, nodes=drawing.nodes + nodes, edges=drawing.edges + edges)

    lines = drawn(both, width=60).split("\n")

    assert max(map(len, lines)) <= 60
    for node in both.nodes:
        assert any(node.label in line for line in lines)


def test_what_cannot_be_drawn_without_doubt_is_a_table() -> None:
    """Steps level by level, each with what it comes after, broken where it is too long."""
    crossed = a_drawing(a="", b="", x="a b", y="a b", z="b")

    assert drawn(crossed) == ("1  a\n   b\n2  x  after a, b\n   y  after a, b\n   z  after b")


def test_a_long_list_of_dependencies_is_broken() -> None:
    """Between names, under the first of them."""
    names = {f"a_long_name_{number}": "" for number in range(6)}
    others = {"b": "a_long_name_0 a_long_name_1", "c": "a_long_name_1 a_long_name_2"}
    wide = a_drawing(**names, z_end=" ".join(names), **others)

    lines = drawn(wide, width=60).split("\n")

    assert lines[0] == "1  a_long_name_0"
    start = lines[6].index("after")
    assert lines[6].startswith("2  z_end")
    assert lines[7].startswith(" " * (start + 6) + "a_long_name_")
    assert sum(line.count("a_long_name_") for line in lines[6:]) == 10


def test_steps_of_a_run_carry_their_status() -> None:
    """Symbol and style come with the name; a note stands behind it."""
    run = with_statuses(a_drawing(a="", b="a"), {"a": "completed", "b": "failed"}, {"b": "3/4"})

    (line,) = render(run, width=80, pen=PEN)

    assert [segment for segment in line if segment[1]] == [("✓ a", "completed"), ("✗ b", "failed")]
    assert drawn(run) == "✓ a ─── ✗ b [3/4]"


def test_finally_steps_stand_below() -> None:
    """With a heading of their own."""
    flow = a_drawing(a="")
    last = Node(slug="z", label="z", section="finally", notes=("if",))

    assert drawn(replace(flow, nodes=(*flow.nodes, last))) == "a\n\nfinally\nz [if]"


def test_an_ascii_terminal_gets_ascii_lines() -> None:
    """Corners are plus signs."""
    pen = Pen(symbols={}, ascii=True)

    assert drawn(a_drawing(a="", b="a", c="a"), pen=pen) == "a -+- b\n   +- c"


def test_a_hostile_name_cannot_move_the_cursor() -> None:
    """Escapes become boxes (S-18)."""
    assert "\x1b" not in drawn(
        Drawing(flow="x", nodes=(Node(slug="a", label="a\x1b[2J"),), edges=())
    )


def test_the_longest_names_are_cut_in_a_table() -> None:
    """128 characters are allowed; dependencies stand below where there is no room beside."""
    long, longer = "a" * 128, "b" * 128

    lines = drawn(a_drawing(**{long: "", longer: long}), width=60).split("\n")

    assert [len(line) for line in lines] == [60, 60, 59]
    assert [line[:8].strip() for line in lines] == ["1  aaaaa", "2  bbbbb", "a"]


def test_edges_that_wait_for_more_than_success_say_so() -> None:
    """At the step in a picture, behind the name in a table."""
    flow = a_drawing(charge="", release="charge", audit="charge")
    one, other = flow.edges
    flow = replace(flow, edges=(replace(one, kind="failure"), replace(other, kind="any")))

    assert drawn(flow) == (
        "charge ─┬─ release [if charge fails]\n        ╰─ audit [after any end of charge]"
    )
    assert drawn(flow, width=36) == (
        "1  charge\n2  release  after charge (failure)\n   audit    after charge (any)"
    )
