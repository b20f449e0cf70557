"""The graph on a page: classes only, boxes that stay, links with names, and marks by themselves."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest

from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node
from pgflow_yaml.language.graph.neighbourhood import MOST_BOXES, part
from pgflow_yaml.language.graph.page import Mark, focus, picture, place, update
from pgflow_yaml.runs.graph import marks, of_snapshot
from tests.unit.drawings import a_drawing
from tests.unit.snapshots import a_failure, a_snapshot, a_step, some_tasks

if TYPE_CHECKING:
    from pgflow_yaml.language.graph.sheet import Sheet
    from pgflow_yaml.runs.snapshot import StepShape

SVG = "{http://www.w3.org/2000/svg}"
CANARY = '"><script>alert(1)</script>\x1b[31m&'


def drawn(page: Sheet, found: dict[str, Mark], **options: Any) -> ET.Element:
    """The picture, parsed as a page would."""
    text = picture(page, found, title="flow x", **options)
    return ET.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def boxes(root: ET.Element) -> dict[str, ET.Element]:
    """The boxes by step."""
    return {box.get("data-step", ""): box for box in root.iter(f"{SVG}a")}


def lines(box: ET.Element) -> list[str]:
    """The two lines of a box."""
    return [text.text or "" for text in box.iter(f"{SVG}text")]


def test_a_box_is_a_link_with_a_name() -> None:
    """Whoever does not see it hears step, condition and words; the selected one is said to be."""
    root = drawn(
        place(a_drawing(charge="", ship="charge")),
        {"charge": Mark("failed", "attempt 5 of 5")},
        selected="charge",
        centre="ship",
    )

    assert root.get("role") == "group"
    charge, ship = boxes(root)["charge"], boxes(root)["ship"]
    assert charge.get("aria-label") == "charge attempt 5 of 5: failed"
    assert (charge.get("href"), charge.get("class")) == ("?step=charge", "pg-box pg-failed")
    assert (charge.get("aria-current"), ship.get("aria-current")) == ("true", None)
    assert ship.get("id") == "graph-centre"
    assert lines(charge) == ["charge", "✗ attempt 5 of 5"]


def test_a_picture_has_no_style_and_ids_of_its_own() -> None:
    """The policy of the page allows none, and two pictures share one document."""
    page = place(a_drawing(a="", b="a"))
    one, other = (drawn(page, {}, name=name, centre="a") for name in ("one", "other"))

    for element in one.iter():
        assert element.tag.removeprefix(SVG) in {"svg", "defs", "marker", "path", "a", "title"} | {
            "rect",
            "text",
        }
        assert "style" not in element.attrib
        assert all(each.startswith("pg-") for each in element.get("class", "pg-").split())
    ids = [
        element.get("id") for root in (one, other) for element in root.iter() if element.get("id")
    ]
    assert len(set(ids)) == len(ids) == 6
    assert {path.get("marker-end") for path in one.iter(f"{SVG}path")} == {"url(#one-arrow)", None}


def test_names_cannot_break_out() -> None:
    """Neither of an attribute nor of a text; the link leads to the very step."""
    nodes = tuple(Node(slug=name, label=name, notes=(name,)) for name in (CANARY, "b"))
    drawing = Drawing(flow="x", nodes=nodes, edges=(Edge(source=CANARY, target="b"),))
    text = picture(place(drawing), {CANARY: Mark("failed", CANARY)}, title=CANARY)

    root = drawn(place(drawing), {CANARY: Mark("failed", CANARY)})
    assert "<script" not in text
    assert "\x1b" not in text
    href = next(iter(boxes(root).values())).get("href", "")
    assert unquote(href.removeprefix("?step=")) == CANARY


def a_run_at(done: int) -> dict[str, Mark]:
    """A map of 10,000 with a step after it, at two moments."""
    step = a_step(
        "fetch",
        "started",
        map=True,
        tasks=some_tasks(completed=done, started=8, failed=12, total=10_000),
    )
    return marks(a_snapshot(step, a_step("ship", "created", depends_on=["fetch"])))


def test_progress_moves_nothing() -> None:
    """Only the second line, the class and the bar of a box differ, however far a run is."""
    drawing = a_drawing(fetch="", ship="fetch")
    early, late = a_run_at(9), a_run_at(9_214)

    texts = [picture(place(drawing), found, title="x") for found in (early, late)]

    assert [lines(boxes(drawn(place(drawing), found))["fetch"])[1] for found in (early, late)] == [
        "▸ 9/10,000 ✗ 12",
        "▸ 9,214/10,000 ✗ 12",
    ]
    kept = [text.replace("9,214/", "9/").replace('"92 100"', '"0 100"') for text in texts]
    assert kept[0] == kept[1]


def test_a_label_begins_with_what_the_box_shows() -> None:
    """Also if it is cut; then the whole follows."""
    label = "one_name_that_is_much_longer_than_any_box"
    words = "waits for an approval by one of a hundred people"
    page = place(replace(a_drawing(a=""), nodes=(Node(slug="a", label=label),)))

    box = boxes(drawn(page, {"a": Mark("waiting", words)}))["a"]

    name, second = (text.text or "" for text in box.iter(f"{SVG}text"))
    spoken = box.get("aria-label") or ""
    assert spoken.startswith(f"{name} {second.removeprefix('‖ ')}: waiting")
    assert label in spoken
    assert words in spoken


def test_marks_alone_renew_a_picture() -> None:
    """What a page gets while a run goes on is what a new picture would say, in a few bytes."""
    page = place(a_drawing(fetch="", ship="fetch"))
    found = a_run_at(9_214)

    sent = json.loads(json.dumps(update(page, found)))

    assert sent == {
        "fetch": ["started", "▸ 9,214/10,000 ✗ 12", 92, "fetch 9,214/10,000 ✗ 12: running"],
        "ship": ["created", "○ not started", 0, "ship not started"],
    }
    for slug, box in boxes(drawn(page, found)).items():
        condition, second, percent, label = sent[slug]
        assert box.get("aria-label") == label
        assert box.get("class") == f"pg-box pg-{condition}"
        assert lines(box)[1] == second
        bar = next(box.iter(f"{SVG}path"))
        assert bar.get("stroke-dasharray") == f"{percent} 100"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (a_step("a"), Mark("completed", "4.0 s")),
        (a_step("a", "failed", attempts=3), Mark("failed", "attempt 3 of 3")),
        (a_step("a", "started"), Mark("started")),
        (a_step("a", "started", attempts=2), Mark("started", "attempt 2 of 3")),
        (a_step("a", "started", tasks=some_tasks(queued=1)), Mark("started", "queued")),
        (
            a_step(
                "a", "started", progress={"index": 0, "done": 0.4, "text": "", "at": "2026-11-24"}
            ),
            Mark("started", "", 40),
        ),
        (
            a_step(
                "a",
                "started",
                attempts=1,
                tasks=some_tasks(queued=1),
                retry_at="2026-11-24T12:00:20+00:00",
            ),
            Mark("retrying", "attempt 2 of 3"),
        ),
        (a_step("a", "skipped"), Mark("skipped")),
        (a_step("a", "cancelled"), Mark("cancelled")),
        (a_step("a", "created", map=True, tasks=some_tasks(total=3)), Mark("created")),
    ],
)
def test_the_words_of_a_box(step: StepShape, expected: Mark) -> None:
    """Short ones, from the same facts as everywhere."""
    assert marks(a_snapshot(step))["a"] == expected


def test_a_step_that_has_not_begun_shows_what_it_is() -> None:
    """The notes of its flow; they are in the label of every box."""
    drawing = replace(a_drawing(a=""), nodes=(Node(slug="a", label="a", notes=("flow shipping",)),))
    page = place(drawing)

    assert lines(boxes(drawn(page, {}))["a"]) == ["a", "flow shipping"]
    assert lines(boxes(drawn(page, {"a": Mark("created")}))["a"])[1] == "○ flow shipping"
    label = boxes(drawn(page, {"a": Mark("completed", "2.0 s")}))["a"].get("aria-label")
    assert label == "a 2.0 s: completed, flow shipping"


def test_a_page_opens_at_what_matters() -> None:
    """The first failed step, else the first that runs or waits."""
    failed = a_failure("b")
    every = [a_step("a"), a_step("b", "failed"), a_step("c", "started"), a_step("d", "failed")]

    assert focus(marks(a_snapshot(*every, errors=[failed]))) == "b"
    assert focus(marks(a_snapshot(every[0], every[2]))) == "c"
    assert focus(marks(a_snapshot(every[0]))) is None


def test_the_steps_around_one() -> None:
    """Two levels on either side, with the edges between them."""
    drawing = a_drawing(a="", b="a", c="b", d="c", e="d", f="e", x="a", y="c")

    found = part(drawing, "d")

    assert [node.slug for node in found.nodes] == ["b", "c", "d", "e", "f"]
    assert len(found.edges) == 4
    assert part(drawing, "unknown") == drawing


def chain(count: int) -> Drawing:
    """Each step after the one before it."""
    return a_drawing(s0="", **{f"s{n}": f"s{n - 1}" for n in range(1, count)})


def test_a_very_large_flow_shows_the_steps_around_the_focus() -> None:
    """Above 600 steps; of a step with a thousand neighbours these are folded."""
    assert part(chain(MOST_BOXES), None) == chain(MOST_BOXES)
    around = part(chain(MOST_BOXES + 1), None, "s300")
    assert [node.slug for node in around.nodes] == ["s298", "s299", "s300", "s301", "s302"]

    fan = part(a_drawing(a="", **{f"s{n}": "a" for n in range(900)}), "a")
    found = {f"s{n}": Mark("completed") for n in range(900)} | {"s7": Mark("failed")}
    root = drawn(place(fan), found, selected="s7")

    assert [node.label for node in fan.nodes] == ["a", "900 steps"]
    folded = boxes(root)["s0"]
    assert folded.get("class") == "pg-box pg-failed"
    assert folded.get("aria-current") == "true"


def test_three_hundred_steps_are_drawn_at_once() -> None:
    """200 ms in processor time, at three times the figure; the layout of a version is kept."""
    names = [f"step_{number}" for number in range(300)]
    drawing = a_drawing(
        **{
            name: " ".join({names[max(0, n - 1 - (n * k) % 20)] for k in (1, 2)}) if n else ""
            for n, name in enumerate(names)
        }
    )
    begin = time.process_time()

    text = picture(place(drawing), {name: Mark("completed", "1.2 s") for name in names}, title="x")

    assert time.process_time() - begin < 3 * 0.2
    assert len(text) < 250_000


def test_a_run_without_a_definition_is_drawn_from_its_steps() -> None:
    """Flows made by pgflow's own functions have none."""
    snapshot = a_snapshot(a_step("a"), a_step("b", "started", depends_on=["a"]))
    root = drawn(place(of_snapshot(snapshot)), marks(snapshot))

    assert [box.get("class") for box in boxes(root).values()] == [
        "pg-box pg-completed",
        "pg-box pg-started",
    ]
