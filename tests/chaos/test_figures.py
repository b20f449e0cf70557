"""The table of `make chaos`: what is met, and where it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.figures import BEGIN, END, at_least, at_most, page, percentile

PAGE = Path(__file__).parents[2] / "docs/explanation/reliability.md"


def test_a_percentile_is_one_of_the_values() -> None:
    """Of two hundred values two may exceed it; of fewer than a hundred none."""
    assert percentile(range(200), 0.99) == 197
    assert percentile([3, 1, 2], 0.99) == 3


def test_a_limit_is_met_to_the_last() -> None:
    """A figure at its limit is met, one beyond it is missed."""
    assert [at_most("G", "x", value, 5, " s").met for value in (5.0, 5.1)] == [True, False]
    assert [at_least("G", "x", value, 20).met for value in (20, 19)] == [True, False]


def test_the_page_keeps_the_text_around_its_figures() -> None:
    """Only what stands between the marks is new; a page without marks is refused."""
    text = PAGE.read_text()
    figure = at_least("G1", "runs", 1000, 1000)

    new = page(text, "Taken today.", [figure])

    assert new.partition(BEGIN)[0] == text.partition(BEGIN)[0]
    assert new.partition(END)[2] == text.partition(END)[2]
    assert "| G1 | runs | ≥ 1,000 | 1,000 | met |" in new
    with pytest.raises(ValueError, match="the page needs one line"):
        page("# A page\n", "", [])
