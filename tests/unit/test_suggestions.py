"""Words that were probably meant."""

from __future__ import annotations

import pytest

from pgflow_yaml.language.suggestions import closest


@pytest.mark.parametrize(
    ("word", "meant"),
    [("wiat", "wait"), ("wth", "with"), ("dependson", "depends_on"), ("zebra", None)],
)
def test_the_nearest_word_is_found(word: str, meant: str | None) -> None:
    """Swapped letters count as nearer than others; nothing is better than something far."""
    assert closest(word, ["with", "wait", "depends_on"]) == meant
