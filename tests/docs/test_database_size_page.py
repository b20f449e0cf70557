"""The page about the size of the database: its flow, its setting, its commands."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.acceptance.shell import Shell
from tests.docs.fenced import ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "how-to" / "database-size.md"
KEPT = "select retention from pgflow.flows where queue_name = %s"

AGE = """update pgflow.runs
set started_at = '2000-01-01', completed_at = now() - interval '3 days'"""


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """The project of the page, with an ended run of three days ago."""
    shell = Shell(tmp_path, database)
    (flow,) = blocks("yaml", [PAGE])
    (setting,) = blocks("toml", [PAGE])
    shell.write("nightly.flow.yaml", flow.text)
    shell.write("other.flow.yaml", "flow: other\nsteps: {load: {handler: jobs.load}}\n")
    shell.write("pyproject.toml", setting.text)
    shell.write("jobs.py", "def load(): return 1\n")
    shell("run", "nightly.flow.yaml", "other.flow.yaml")
    with psycopg.connect(database) as db:
        db.execute(AGE)
    return shell


def test_the_flow_and_the_setting_are_stored(shell: Shell, database: str) -> None:
    """The flow's own times; a flow without any has those of the project."""
    with psycopg.connect(database) as db:
        kept = [db.execute(KEPT, [name]).fetchone() for name in ("nightly", "other")]

    days = {"completed": 7, "failed": 90}
    assert kept[0] == ({status: n * 86_400_000 for status, n in days.items()},)
    assert kept[1] == (dict.fromkeys(days, 60 * 86_400_000),)
    shell.write("pyproject.toml", '[tool.pgflow-yaml]\nretention = {completed = "off"}\n')
    assert "unchanged" in shell("compile", "other.flow.yaml").out
    with psycopg.connect(database) as db:
        assert db.execute(KEPT, ["other"]).fetchone() == ({"completed": None},)


def test_the_commands_work_as_the_page_says(shell: Shell) -> None:
    """They look, delete what is old, and then what was asked for."""
    lines = [line for block in blocks("sh", [PAGE]) for line in block.text.splitlines()]

    printed = [shell(*shlex.split(line)[1:]).out for line in lines]

    assert printed == [
        "nothing is old enough\n",
        "nothing is old enough\n",
        "would delete 1 run of nightly; 1 task\n",
        "deleted 1 run of nightly; 1 task\n",
        "nothing is old enough\n",
    ]
