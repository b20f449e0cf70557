"""A project whose embedded database an unreleased version made."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml.database.embedded import discard, open_server
from pgflow_yaml.database.embedded.files import server_paths
from tests.acceptance.shell import Shell
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD = """
update pgflow.migrations set sha256 = 'older' where name = '0001_tables.sql';
insert into pgflow.migrations (name, sha256, release) values ('0002_language.sql', 'x', '0.1.0')"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project with a database that an unreleased version made."""
    (tmp_path / "pyproject.toml").touch()
    Shell(tmp_path)("runs")
    with open_server(tmp_path) as server, psycopg.connect(server.conninfo()) as db:
        db.execute(OLD.encode())
    yield tmp_path
    discard(tmp_path)


@pytest.mark.timeout(120)
def test_every_command_names_the_command_that_recreates_the_database(project: Path) -> None:
    """Exit 3 and one sentence; what it says to type works."""
    shell = Shell(project)

    for arguments in (["runs"], ["flows"], ["start", "flow"], ["migrate"], ["migrate", "--status"]):
        err = shell(*arguments, expect=3).err
        assert "made by an unreleased version of pgflow-yaml: delete it with its runs by" in err
        assert "sha256" not in err

    (command,) = re.findall(r"`(rm -rf [^`]+)`", err)
    stopped = server_paths(project).data / "postmaster.pid"
    eventually(lambda: not stopped.exists(), what="the server has stopped")
    subprocess.run(command, shell=True, check=True)
    assert shell("runs", "--json").json == []
