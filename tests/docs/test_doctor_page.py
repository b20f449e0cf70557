"""`docs/how-to/doctor.md`: its commands run, its tables name every check."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.database.health import CHECKS, SECURITY
from tests.acceptance.shell import Shell
from tests.docs.fenced import ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "how-to" / "doctor.md"


def test_the_tables_name_every_check() -> None:
    """In the order of the report."""
    named = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert named == ["versions", *CHECKS, *SECURITY]


@pytest.mark.timeout(120)
def test_the_commands_of_the_page_run(database: str, tmp_path: Path) -> None:
    """The server of the tests is not durable, which `doctor` says."""
    shell = Shell(tmp_path, database)
    shell.write("asks.yaml", "flow: asks\nsteps: {ok: {wait: {event: go}}}\n")
    shell.write(
        "nightly.yaml",
        "flow: nightly\nschedule: {cron: '30 2 * * *'}\nsteps: {ok: {wait: {for: 1s}}}\n",
    )
    shell("compile", "asks.yaml", "nightly.yaml")
    shell("start", "asks")
    for block in blocks("sh", [PAGE]):
        for line in block.text.splitlines():
            program, *words = shlex.split(line)
            assert program == "pgflow-yaml"
            shell(*words, expect=int(words[0] == "doctor"))
