"""`docs/tutorial/first-flow.md`, followed to the letter in an empty folder."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pgflow_yaml.cli.app import app
from pgflow_yaml.client import Client
from pgflow_yaml.language.validation import check
from pgflow_yaml.project.files import load, schema
from tests.docs.fenced import ROOT, everything
from tests.docs.project import write
from tests.docs.terminal import missing, type_into_shell
from tests.docs.test_readme import EXAMPLE_URL

PAGE = ROOT / "docs" / "tutorial" / "first-flow.md"
BLOCKS = everything(PAGE)
CODE = re.compile(r"# exit code (\d+)$", re.MULTILINE)
WRONG_ON_PURPOSE = 1


def files_at_the_end() -> dict[str, str]:
    """The reader's files after the last block."""
    files: dict[str, str] = {}
    for block in BLOCKS:
        write(files, block)
    return files


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_tutorial_works_as_typed(tmp_path: Path) -> None:
    """Each command exits as the page says and shows the output below it."""
    files: dict[str, str] = {}
    folder, commands, shown = tmp_path / "empty", "", []
    folder.mkdir()
    for block in BLOCKS:
        name = write(files, block)
        if name:
            (folder / name).write_text(files[name], encoding="utf-8")
        elif block.language == "sh":
            commands = block.text
            typed = type_into_shell(commands, folder, home=tmp_path)
            expected = CODE.search(commands)
            screen = "\n".join(typed.screen)
            assert typed.code == (int(expected[1]) if expected else 0), (
                f"{block.position}\n{screen}"
            )
            folder, shown = typed.folder, typed.screen
            continue
        elif commands:
            screen = "\n".join(shown)
            assert missing(block.text, shown) == [], f"{block.position}, on the screen:\n{screen}"
        commands = ""


def test_every_state_of_the_flow_but_the_first_is_valid() -> None:
    """The mistakes are only those that the page is about."""
    files: dict[str, str] = {}
    states = []
    for block in BLOCKS:
        name = write(files, block)
        if name and name.endswith(".flow.yaml"):
            states.append(
                (block.position, check(files[name], file=name, schema=schema()).diagnostics)
            )

    invalid = [position for position, diagnostics in states if diagnostics]
    assert len(states) > 5
    assert invalid == [position for position, _ in states[:WRONG_ON_PURPOSE]]


def test_the_program_starts_a_run(database: str, tmp_path: Path) -> None:
    """With the address of a real database, its lines start one run, also when run twice."""
    files = files_at_the_end()
    (tmp_path / "orders.flow.yaml").write_text(files["orders.flow.yaml"])
    program = files["start_order.py"].replace(EXAMPLE_URL, database)
    with Client(database) as client:
        client.deploy(load(tmp_path / "orders.flow.yaml"))

        ids = {
            subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, check=True
            ).stdout.strip()
            for _ in range(2)
        }

        assert [run.id for run in client.list_runs(flow="orders")] == list(ids)


def test_the_unit_starts_a_worker_and_lets_it_end() -> None:
    """Its command line is one of ours, and it is given more time to stop than a worker takes."""
    unit = configparser.ConfigParser()
    unit.read_string(files_at_the_end()["pgflow-worker.service"])
    service = unit["Service"]
    program, command, *options = shlex.split(service["ExecStart"])

    assert Path(program).name == "pgflow-yaml"
    worker = app.get_command(click.Context(app), command)
    assert worker is not None
    with pytest.raises(click.exceptions.Exit):
        worker.make_context(command, [*options, "--help"])
    assert int(service["TimeoutStopSec"]) > 30
