"""The grid of a map's items and the strip of a flow's last runs, as data."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from pgflow_yaml.runs.items import ITEM_STATUSES
from pgflow_yaml.web.pictures.grid import grid
from pgflow_yaml.web.pictures.strip import Result, strip

if TYPE_CHECKING:
    from collections.abc import Iterator

SVG = "{http://www.w3.org/2000/svg}"
CANARY = '"><script>alert(1)</script>\x1b[31m&'


def drawn(text: str) -> ET.Element:
    """The picture, parsed as a page would."""
    return ET.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def cells(path: str) -> Iterator[tuple[int, int]]:
    """The cells that lines pass through, as column and row."""
    x = y = 0
    for dx, dy, length in re.findall(r"m(-?\d+) ?(-?\d+)h(\d+)", path):
        x, y = x + int(dx), y + int(dy)
        yield from ((x + number, y) for number in range(int(length)))
        x += int(length)


def read_back(text: str, count: int) -> str:
    """The letters of a grid from its picture alone."""
    root = drawn(text)
    columns = int(root.get("data-columns", 0))
    letters = {status: letter for letter, status in ITEM_STATUSES.items()}
    paths = {path.get("class", ""): path.get("d", "") for path in root.iter(f"{SVG}path")}
    (ground,) = (name.split("pg-")[-1] for name in paths if name.startswith("pg-ground"))
    found = [letters[ground]] * count
    for name, path in paths.items():
        if name.startswith("pg-cells"):
            for x, y in cells(path):
                assert found[y * columns + x] == letters[ground]  # no cell is drawn twice
                found[y * columns + x] = letters[name.split("pg-")[-1]]
    again = set(cells(paths.get("pg-again", "")))
    return "".join(
        letter + ("2" if (at % columns, at // columns) in again else "1")
        for at, letter in enumerate(found)
    )


LETTERS = st.tuples(st.sampled_from("".join(ITEM_STATUSES)), st.sampled_from("12")).map("".join)


@given(st.lists(LETTERS, min_size=1, max_size=1200).map("".join))
def test_a_grid_says_what_it_was_made_of(items: str) -> None:
    """Each cell has the colour of its item, inside the view box."""
    assert read_back(grid(items), len(items) // 2) == items


def a_wide_map() -> str:
    """10,000 items in the middle of a run: one of twenty has failed, others were tried again."""
    chance = random.Random(7)
    letters = ""
    for number in range(10_000):
        letter = "c" if number < 7_000 else "r" if number < 7_100 else "q"
        letter = "f" if letter == "c" and chance.random() < 0.05 else letter
        letters += letter + ("+" if chance.random() < 0.05 else "0" if letter == "q" else "1")
    return letters


def test_ten_thousand_items_are_a_small_picture() -> None:
    """12 kB at most; it has 200 columns and says how many there are of each."""
    text = grid(a_wide_map())

    assert len(text) <= 12_000
    assert 'viewBox="0 0 200 50"' in text
    label = drawn(text).get("aria-label", "")
    assert re.fullmatch(
        r"10,000 items: 6,\d+ completed, 2,900 queued, 3\d\d failed, 100 running", label
    )


def test_a_small_map_has_large_cells() -> None:
    """A line of ten thin cells in 200 columns would be hard to hit; the ground ends with them."""
    root = drawn(grid("c1" * 45))

    assert root.get("data-columns") == "20"
    assert root.get("viewBox") == "0 0 20 3"
    (ground,) = (p for p in root.iter(f"{SVG}path") if "pg-ground" in p.get("class", ""))
    assert ground.get("d") == "M0 0h20v2h-20zM0 2h5v1h-5z"


def test_a_grid_of_nothing() -> None:
    """A map over an empty list."""
    assert drawn(grid("")).get("aria-label") == "0 items"


def test_pictures_have_no_style_and_unique_ids() -> None:
    """The policy of the page allows no style; two grids may share a page."""
    text = grid(a_wide_map(), name="one") + grid("c1f1", name="other")
    text += strip([a_result("3f2a91c0-0000", "completed", 0.012)], flow="order")

    assert "style" not in text
    ids = re.findall(r' id="([^"]*)"', text)
    assert sorted(ids) == ["one", "one-lines", "other", "other-lines"]


def a_result(run_id: str, status: str, seconds: float | None) -> Result:
    """A run of a strip."""
    return {"id": run_id, "status": status, "seconds": seconds}


def test_a_strip_reads_from_old_to_new() -> None:
    """The last thirty runs, each with a symbol, a name and a link; Tab does not stop at them."""
    ends = ["completed"] * 38 + ["failed", "completed"]
    results = [a_result(f"{n:08}-0000", end, 1.2) for n, end in enumerate(ends)]

    links = list(drawn(strip(results, flow="order")).iter(f"{SVG}a"))

    assert len(links) == 30
    newest, before = links[-1], links[-2]
    assert newest.get("href") == "/runs/00000039-0000"
    assert newest.get("aria-label") == "00000039 completed in 1.2 s"
    assert newest.get("tabindex") == "-1"
    assert before.get("class") == "pg-cell pg-failed"
    assert before.findtext(f"{SVG}text") == "✗"
    rects = [link.find(f"{SVG}rect") for link in links]
    assert [rect.get("x") for rect in rects if rect is not None] == [str(16 * n) for n in range(30)]


def test_a_strip_of_a_run_that_goes_on_and_one_of_none() -> None:
    """There is no duration yet; a new flow has no cells."""
    root = drawn(strip([a_result("3f2a91c0", "started", None)], flow=CANARY))

    assert next(root.iter(f"{SVG}a")).get("aria-label") == "3f2a91c0 running"
    assert root.get("aria-label", "").startswith('last runs of "><script>')
    assert list(drawn(strip([], flow="order")).iter(f"{SVG}a")) == []
