"""`docs/how-to/logs.md`: its commands run in order and show what the page says."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from tests.acceptance.shell import Shell
from tests.docs.fenced import ROOT, everything
from tests.docs.project import write

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "how-to" / "logs.md"


def test_the_commands_run_in_order(tmp_path: Path, database: str) -> None:
    """The run fails as meant; its log, the failed part of it, one item, and JSON lines."""
    files: dict[str, str] = {}
    shown: list[str] = []
    shell = Shell(tmp_path, database)
    for block in everything(PAGE):
        if write(files, block):
            for name, text in files.items():
                shell.write(name, text)
        elif block.language == "toml":
            shell.write("pyproject.toml", block.text)
        elif block.language == "sh":
            for line in block.text.splitlines():
                words = shlex.split(line)[1:]
                shown.append(shell(*words, expect=1 if words[0] == "run" else 0).out)

    _, whole, failed, item, stream = shown
    assert whole.count("rendering page") == 3
    assert [line[26:] for line in failed.splitlines()] == [
        "pages[1]  #1  info      rendering page 2",
        "pages[1]  #1  info      page 2 has 4 images",
    ]
    assert item == failed
    assert {json.loads(line)["index"] for line in stream.splitlines()} == {0, 1, 2}
