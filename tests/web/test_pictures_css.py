"""The style sheet of the pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pgflow_yaml.web
from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node
from pgflow_yaml.language.graph.markup import SYMBOLS
from pgflow_yaml.language.graph.page import Mark, picture, place
from pgflow_yaml.runs.items import ITEM_STATUSES, DensityShape
from pgflow_yaml.web.pictures.grid import grid
from pgflow_yaml.web.pictures.strip import strip
from pgflow_yaml.web.pictures.timeline import timeline
from tests.unit.snapshots import NOW, START, a_failure, a_run, a_snapshot, a_step

CSS = (Path(pgflow_yaml.web.__file__).parent / "static/pictures.css").read_text()


def pictures() -> str:
    """One of each kind, with all that may be in it."""
    nodes = tuple(Node(slug=condition, label=condition) for condition in SYMBOLS)
    last = Node(slug="last", label="last", section="finally")
    edges = (
        Edge(source="completed", target="failed"),
        Edge(source="completed", target="caught", kind="failure"),
        Edge(source="completed", target="waiting", kind="any"),
    )
    drawing = Drawing(flow="x", nodes=(*nodes, last), edges=edges)
    marks = {condition: Mark(condition) for condition in SYMBOLS}
    early = "2026-11-20T12:00:00+00:00"
    steps = [a_step(f"s{n}", started_at=START, ended_at=NOW) for n in range(201)]
    broken = a_step("a", "failed", started_at=early, ended_at=NOW)
    errors = [a_failure("a", at=at, retry_at=START) for at in ("2026-11-20T12:00:01+00:00", NOW)]
    run = a_run("failed", started_at=early)
    density: DensityShape = {"begin": START, "end": NOW, "running": [1, 2]}
    return "".join(
        [
            picture(place(drawing), marks, title="x"),
            timeline(a_snapshot(broken, *steps, run=run, errors=errors), {"s1": density}),
            *(grid("".join(f"{letter}2" for letter in ITEM_STATUSES) * n) for n in (1, 9, 90, 900)),
            strip([{"id": "1", "status": "failed", "seconds": 1}], flow="x"),
        ]
    )


def test_each_class_of_a_picture_has_a_rule_and_each_rule_a_picture() -> None:
    """A class that is styled nowhere, or drawn nowhere, is a mistake of one of both."""
    named = re.findall(r'class="([^"]*)"', pictures())
    drawn = {name for names in named for name in names.split()}
    # A picture as it comes needs none of these: the first letter stands where the text begins.
    plain = {"pg-from", "pg-of-100", "pg-of-200", "pg-on-success"}
    # Set by the page that shows the picture.
    by_page = {"pg-fit", "pg-dim", "pg-scroll"}

    assert set(re.findall(r"\.(pg-[a-z0-9-]+)", CSS)) == drawn - plain | by_page


def test_colours_come_from_the_page() -> None:
    """Both themes are the page's; here stands no colour of its own."""
    assert re.findall(r"#[0-9a-f]{3,6}\b|rgb\(", CSS) == []
    assert set(re.findall(r"var\(--(\w+)", CSS)) == {
        *("completed", "failed", "started", "waiting", "skipped", "cancelled"),
        *("card", "dim", "line", "status"),
    }
