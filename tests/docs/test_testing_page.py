"""`docs/how-to/testing.md`: its example passes as printed, its tables list every key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.testing import mock_reading, reading
from tests.acceptance.shell import Shell
from tests.docs.fenced import ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

FILE = ROOT / "docs" / "how-to" / "testing.md"
PAGE = FILE.read_text(encoding="utf-8")
TIME = re.compile(r"  [0-9.]+ m?s$", re.MULTILINE)


def keys(heading: str) -> list[str]:
    """The keys in the first column of the table under a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return [word for cell in cells for word in re.findall(r"`(\w+)`", cell)]


def test_the_example_passes_as_it_is_printed(tmp_path: Path) -> None:
    """Flow and test file of the page, and the lines that it shows but for the times."""
    shell = Shell(tmp_path)
    flow, tests = (block.text for block in blocks("yaml", [FILE]))
    shell.write("payout.flow.yaml", flow)
    shell.write("payout.test.yaml", tests)

    output = shell("test").out

    shown = "✓" + PAGE.partition("\n```\n✓")[2].partition("```")[0]
    assert TIME.sub("", output).partition(" in ")[0] == TIME.sub("", shown).partition(" in ")[0]


def test_every_key_is_in_its_table() -> None:
    """In the order in which they are known."""
    assert keys("A test file") == list(reading.FILE_KEYS)
    assert set(keys("Mocks")) == set(mock_reading.MOCK_KEYS)
    assert keys("Expectations") == list(reading.EXPECT_KEYS)
    step = re.search(r"^\| `steps` \|.*mapping of (.*?) \|$", PAGE, re.MULTILINE)
    assert step is not None
    assert tuple(re.findall(r"`(\w+)`", step[1])) == reading.STEP_KEYS
