"""`start --debounce`: what it says, and that the run begins by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.working import Works

FLOW = """
flow: sync
input: {n: {type: integer}}
steps:
  go: {handler: shop.go, with: {n: "${{ input.n }}"}}
"""


def test_the_last_of_many_starts_runs(works: Works, tmp_path: Path) -> None:
    """Once, with its input, when there has been none for a second."""
    works.app.write("shop.py", "def go(n): return n")
    works.deploy(FLOW)
    shell = Shell(tmp_path, works.database)

    first = shell("start", "sync", "--input", "n=1", "--debounce", "1h", "--key", "k")
    second = shell("start", "sync", "--input", "n=2", "--debounce", "1h", "--key", "k")
    third = works.client.start("sync", {"n": 3}, key="k", debounce=1)
    works.start()
    run = works.ended(third.id)

    assert first.out == second.out == f"{third.id}\n"
    assert "has the new input, and is postponed" in second.err
    assert run.output == {"go": 3}
    assert len(works.client.list_runs()) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--debounce", "30s"], "--debounce needs a --key"),
        (["--debounce", "soon", "--key", "k"], '--debounce "soon" is not a duration'),
        (["--debounce", "10ms", "--key", "k"], "at least 1s"),
        (["--debounce", "30s", "--key", "k", "--at", "2h"], "exclude each other"),
    ],
)
def test_a_wrong_line_is_refused(tmp_path: Path, words: list[str], sentence: str) -> None:
    """Before anything is asked of a database."""
    assert sentence in Shell(tmp_path)("start", "sync", *words, expect=2).err
