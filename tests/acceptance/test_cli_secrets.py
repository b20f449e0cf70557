"""Secrets and wake-ups as options of `run` and `worker`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.worker_process import StartCli

HANDLERS = """
def show(token):
    print("printed", token)
    return {"header": "Bearer " + token}
"""
FLOW = """
flow: call
steps:
  show: {handler: tasks.show, with: {token: "${{ secrets.API_TOKEN }}"}, retry: 1}
"""


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A folder with a flow that needs a secret."""
    found = Shell(tmp_path, database)
    found.write("tasks.py", HANDLERS)
    found.write("call.yaml", FLOW)
    return found


@pytest.mark.parametrize("file", ["secrets/API_TOKEN", "secrets.env"])
def test_run_reads_secrets_and_shows_none(shell: Shell, file: str) -> None:
    """From a folder or a file, named by an option or by the project; `-v` shows no more."""
    line = "API_TOKEN=hush-hush-1\n" if file.endswith("env") else "hush-hush-1\n"
    shell.write(file, line)
    place = file.partition("/")[0]

    by_option = shell("run", "call.yaml", "--secrets", place, "-v")
    shell.write("pyproject.toml", f'[tool.pgflow-yaml]\nsecrets = "{place}"\n')
    by_project = shell("run", "call.yaml", "--json")

    for result in (by_option, by_project):
        assert "hush-hush" not in result.out + result.err
        assert "Bearer ***" in result.out
        assert "printed ***" in result.err


def test_a_missing_secret_says_where_to_put_it(shell: Shell) -> None:
    """The end screen has the sentence; a folder that is not there is wrong use."""
    (shell.folder / "secrets").mkdir()

    failed = shell("run", "call.yaml", "--secrets", "secrets", expect=1)
    wrong = shell("run", "call.yaml", "--secrets", "nowhere", expect=2)
    shell.write("pyproject.toml", '[tool.pgflow-yaml]\nsecrets = "gone"\n')
    gone = shell("worker", "--burst", expect=2)

    assert "this worker has no secret API_TOKEN: put it into secrets, or set" in failed.err
    assert "PGFLOW_YAML_SECRET_API_TOKEN" in failed.err
    assert "nowhere" in wrong.err
    assert "there is no file or folder" in gone.err


def test_a_worker_may_be_told_not_to_listen(shell: Shell, start_cli: StartCli) -> None:
    """By the option, or by the environment for every command."""
    assert shell.database is not None
    with psycopg.connect(shell.database, autocommit=True) as ear:
        ear.execute("listen pgflow_wake")
        workers = [
            start_cli("worker", "--no-notify", dsn=shell.database, cwd=shell.folder),
            start_cli("worker", dsn=shell.database, cwd=shell.folder, PGFLOW_YAML_NOTIFY="off"),
        ]
        for worker in workers:
            worker.wait_for("worker started")
        quiet = Shell(shell.folder, shell.database, {"PGFLOW_YAML_NOTIFY": "off"})
        quiet("compile", "call.yaml")
        quiet("start", "call")
        names = ear.execute(
            "select application_name from pg_stat_activity where datname = current_database()"
        ).fetchall()
        assert not any("listener" in name for (name,) in names)
        assert list(ear.notifies(timeout=0.2)) == []
        shell("start", "call")

        assert [each.payload for each in ear.notifies(timeout=5, stop_after=1)] == [""]
