"""`docs/how-to/a-run-failed.md`: its commands, in order, on the project's own database."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.database import embedded
from tests.acceptance.shell import Shell
from tests.docs.fenced import ROOT, everything
from tests.docs.project import write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = ROOT / "docs" / "how-to" / "a-run-failed.md"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Shell]:
    """A project with its embedded database."""
    (tmp_path / "pyproject.toml").touch()
    yield Shell(tmp_path)
    embedded.discard(tmp_path)


@pytest.mark.timeout(180)
def test_the_page_leads_from_the_error_to_the_result(own: Shell) -> None:
    """The run fails, what failed runs again in this process, and so on to the end of the page."""
    files: dict[str, str] = {}
    said: dict[str, str] = {}
    for block in everything(PAGE):
        if (name := write(files, block)) is not None:
            own.write(name, files[name])
        for line in block.text.splitlines() if block.language == "sh" else ():
            result = own(*shlex.split(line)[1:], expect=line.startswith("pgflow-yaml run"))
            said[line.removeprefix("pgflow-yaml ")] = result.out + result.err

    assert "(keeps: 2 of 3 items of fetch)" in said["run report.yaml"]
    assert "/fetch  report  ConnectionError" in said["failed"]
    assert '"Oslo"' in said["show last --step fetch --item 1"]
    assert "again: fetch, total · kept: 2 of 3 items of fetch" in said["retry last"]
    assert '{"total": 12}' in said["retry last"]
    assert '{"total": 4}' in said["retry last --from fetch --yes --input 'cities=[\"Rome\"]'"]
    assert "copy of run" in said["retry last --from total --yes --as-new"]
    done = subprocess.run([sys.executable, "again.py"], cwd=own.folder, check=True)
    assert done.returncode == 0
