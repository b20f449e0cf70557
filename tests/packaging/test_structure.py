"""The shape of the project: what a review would otherwise have to count."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from pgflow_yaml.cli.app import SECTIONS, app, entries

ROOT = Path(__file__).parents[2]
SOURCES = [
    file
    for folder in ("pgflow_yaml", "migrations", "tests", "workflows", "benchmarks")
    for file in (ROOT / folder).rglob("*")
    if file.suffix in {".py", ".sql"} and not file.is_relative_to(ROOT / "pgflow_yaml/migrations")
]


def test_no_file_is_too_long() -> None:
    """A file of more than 450 lines holds more than one idea."""
    lengths = {file: len(file.read_text().splitlines()) for file in SOURCES}

    assert {str(file): lines for file, lines in lengths.items() if lines > 450} == {}


def test_every_module_has_its_layer() -> None:
    """The layers of import-linter name the modules that exist, no more and no less."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = config["tool"]["importlinter"]["contracts"][0]
    named = {name for layer in contract["layers"] for name in re.findall(r"\w+", layer)}
    package = ROOT / "pgflow_yaml"
    modules = {file.stem for file in package.glob("*.py")}
    modules |= {folder.parent.name for folder in package.glob("*/__init__.py")}

    assert named == modules - {"__init__", *contract["exhaustive_ignores"]}


def test_each_command_has_the_module_of_its_name() -> None:
    """The name of a command leads to its file: `cli/commands/<name>.py`, one command in each."""
    commands = {
        name: app.get_command(click.Context(app), name)
        for name in app.list_commands(click.Context(app))
    }
    modules = {file.stem for file in (ROOT / "pgflow_yaml/cli/commands").glob("*.py")}

    assert modules - {"__init__"} == set(commands)
    assert {entry.section for entry in entries().values()} == set(SECTIONS)
    for name, command in commands.items():
        assert command is not None
        assert command.callback is not None
        assert command.callback.__module__ == f"pgflow_yaml.cli.commands.{name}"


def test_the_root_holds_nothing_unexpected() -> None:
    """A new name in the root of the repository is added here on purpose."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {line.partition("/")[0] for line in listed.stdout.splitlines()}

    assert names <= {
        *(".ci", ".gitignore", ".pre-commit-config.yaml", ".pre-commit-hooks.yaml", ".squawk.toml"),
        *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md"),
        *("benchmarks", "deploy", "docs", "migrations", "pgflow_yaml", "schemas", "tests"),
        *("pyproject.toml", "uv.lock", "workflows"),
    }


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    """No docstring of the package begins with a question word or reports speech."""
    question = re.compile(r'"""(What|How|Whether|Who|Whose|Where|When|Say|Tell|So)\b')
    found = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in SOURCES
        if file.is_relative_to(ROOT / "pgflow_yaml") and file.suffix == ".py"
        for line in file.read_text().splitlines()
        if question.search(line)
    ]

    assert found == []


def test_tests_wait_for_conditions() -> None:
    """A sleep of more than 50 ms in a test has its reason beside it."""
    pattern = re.compile(r"sleep\((?:[1-9]|0\.[1-9]|0\.0[5-9])[^#]*$")
    found = [
        f"{file.name}: {line.strip()}"
        for file in SOURCES
        if file.is_relative_to(ROOT / "tests") and file.suffix == ".py"
        for line in file.read_text().splitlines()
        if pattern.search(line) and "pg_sleep" not in line and "re.compile" not in line
    ]

    assert found == []


@pytest.mark.parametrize("folder", ["migrations", "schemas"])
def test_package_data_are_links_to_the_top(folder: str) -> None:
    """The folders that users look for at the top are the ones that the package ships."""
    assert (ROOT / "pgflow_yaml" / folder).resolve() == ROOT / folder


@pytest.mark.parametrize(
    ("file", "limit"), [("Makefile", 90), ("CONTRIBUTING.md", 100), (".ci/run", 10)]
)
def test_what_a_newcomer_reads_first_is_short(file: str, limit: int) -> None:
    """The files that everybody opens fit on a screen or two."""
    assert len((ROOT / file).read_text().splitlines()) <= limit


def test_help_is_there_at_once() -> None:
    """`--help` imports no driver, no jsonschema: 100 ms of a processor, at three times that."""
    command = [sys.executable, "-m", "pgflow_yaml", "--help"]
    durations = []

    for _ in range(5):
        begin = os.times()
        subprocess.run(command, check=True, capture_output=True)
        end = os.times()
        durations.append(
            end.children_user - begin.children_user + end.children_system - begin.children_system
        )

    assert min(durations) < 3 * 0.1
