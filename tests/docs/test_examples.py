"""The flows that the pages show, played: each does what its page says of it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell
from tests.docs.fenced import ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

CASES = ROOT / "tests" / "docs" / "cases"
NAMES = sorted(folder.name for folder in CASES.iterdir())


def test_these_are_the_pages_whose_flows_nothing_else_runs() -> None:
    """Tests of their own run the flows of the other pages; a new page needs cases."""
    pages = {block.page.stem for block in blocks("yaml")}

    assert pages == {
        *NAMES,
        "a-run-failed",
        "database-size",
        "exactly-once",
        "first-flow",
        "logs",
        "python",
        "testing",
        "webhooks",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_flow_of_a_page_passes_its_cases(name: str, tmp_path: Path) -> None:
    """In virtual time: retries, catches, waits and rounds, by cases that lie beside this test."""
    (page,) = (ROOT / "docs").glob(f"*/{name}.md")
    flows = blocks("yaml", [page])
    for number, block in enumerate(flows):
        (tmp_path / f"{number}.flow.yaml").write_text(block.text, encoding="utf-8")
    for file in (CASES / name).glob("*.test.yaml"):
        shutil.copy(file, tmp_path)

    files = Shell(tmp_path)("test", "--json").json["files"]

    assert len({file["flow"] for file in files}) == len(flows)
    assert all(len(file["cases"]) > 1 for file in files)
