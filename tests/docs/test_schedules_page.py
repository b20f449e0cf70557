"""The page about schedules: its commands run in their order, and its case passes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell
from tests.docs.fenced import ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "how-to" / "schedules.md"


@pytest.mark.timeout(120)
def test_the_page_works_as_it_stands(database: str, tmp_path: Path) -> None:
    """The flow, the lines of each block, and the test file."""
    shell = Shell(tmp_path, database)
    (flow,) = blocks("yaml", [PAGE])
    (case,) = blocks("yml", [PAGE])
    shell.write("nightly.flow.yaml", flow.text)
    shell.write("nightly.test.yaml", case.text)
    shell("test")
    for block in blocks("sh", [PAGE]):
        for line in block.text.splitlines():
            words = shlex.split(line)[1:]
            shell(*words, expect=int(words[0] == "doctor"))  # the server is not durable
