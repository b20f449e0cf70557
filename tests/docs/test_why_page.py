"""The page about reasons lists each kind."""

from __future__ import annotations

import re

from pgflow_yaml.runs.why import KINDS
from tests.docs.fenced import ROOT

PAGE = ROOT / "docs" / "how-to" / "find-out-why.md"


def test_the_page_lists_each_kind() -> None:
    """In the first column of its table."""
    cells = re.findall(r"^\| (`.+?) \|", PAGE.read_text(), re.MULTILINE)

    assert {kind for cell in cells for kind in re.findall(r"`(\w+)`", cell)} == KINDS
