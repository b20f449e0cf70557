"""The plugin of pytest, by running pytest in a project of somebody else's."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

FLOW = """\
flow: greeting
steps:
  greet:
    handler: app.greet
    retry: {max_attempts: 3, base_delay: 1h}
"""
GOOD = """\
flow: greeting
cases:
  plain: {expect: {output: {greet: hello}}}
  patient: {mocks: {greet: [{raises: Busy}, real]}, expect: {attempts: {greet: 2}}}
"""
BAD = "flow: greeting\ncases:\n  rude: {expect: {output: {greet: go away}}}\n"
WITNESS = """\
import sys

def pytest_sessionfinish():
    ours = [name for name in sys.modules if name.startswith("pgflow_yaml")]
    heavy = sorted({"psycopg", "yaml", "jsonschema"} & set(sys.modules))
    print("loaded:", *sorted(ours), *heavy)
"""

OTHERS = (
    *("randomly", "cacheprovider", "xdist", "xdist.looponfail", "pytest_cov"),
    *("hypothesispytest", "timeout", "platformdirs"),
)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A project with a flow, its tests, and a test of Python."""
    shell = Shell(tmp_path)
    shell.write("pyproject.toml", "[tool.pytest.ini_options]\nfilterwarnings = ['error']\n")
    shell.write("greeting.flow.yaml", FLOW)
    shell.write("app.py", "def greet():\n    return 'hello'\n")
    shell.write("test_app.py", "import app\n\ndef test_it():\n    assert app.greet() == 'hello'\n")
    return shell


def pytest_in(shell: Shell, *words: str, expect: int = 0) -> str:
    """Run pytest with what a user has: no option or plugin of our own suite."""
    environment = {k: v for k, v in shell.environment().items() if not k.startswith("PYTEST")}
    others = [part for name in OTHERS for part in ("-p", f"no:{name}")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *others, *words],
        cwd=shell.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_each_case_is_a_test(shell: Shell) -> None:
    """Beside tests of Python, chosen by -k as they are."""
    shell.write("flows/greeting.test.yaml", GOOD.replace("greeting\n", "../greeting.flow.yaml\n"))

    everything = pytest_in(shell, "-v")
    chosen = pytest_in(shell, "-q", "-k", "patient")

    assert "flows/greeting.test.yaml::plain PASSED" in everything
    assert "test_app.py::test_it PASSED" in everything
    assert "3 passed" in everything
    assert "1 passed, 2 deselected" in chosen


def test_what_differs_is_shown_without_a_traceback(shell: Shell) -> None:
    """The frame of the command, at the place in the test file."""
    shell.write("greeting.test.yaml", BAD)

    said = pytest_in(shell, "-q", expect=1)

    assert "greeting.test.yaml:3:35: error[PF520]: the run's output.greet" in said
    assert 'expected "go away", got "hello"' in said
    assert "Traceback" not in said
    assert "pgflow_yaml/" not in said


def test_a_test_file_with_mistakes_is_an_error_of_the_collection(shell: Shell) -> None:
    """As a broken module is: nothing is hidden, and nothing is played."""
    shell.write("greeting.test.yaml", "flow: greeting\ncases:\n  one: {expcet: {}}\n")

    said = pytest_in(shell, "-q", expect=2)

    assert 'did you mean "expect"?' in said
    assert "Traceback" not in said


def test_other_peoples_test_yaml_is_left_alone(shell: Shell) -> None:
    """A file of that name that speaks of no flow and no cases is not ours."""
    shell.write("kitchen.test.yaml", "{{ not even: yaml\n")

    assert "1 passed" in pytest_in(shell, "-q")


def test_where_it_is_not_used_it_costs_nothing(shell: Shell) -> None:
    """Neither the driver nor the YAML reader is imported for a project without test files."""
    shell.write("conftest.py", WITNESS)
    shell.write("test_app.py", "def test_it():\n    pass\n")

    said = pytest_in(shell, "-q", "-s")

    loaded = next(line for line in said.splitlines() if "loaded:" in line)
    assert loaded.split("loaded: ")[1].split() == [
        "pgflow_yaml",
        "pgflow_yaml.testing",
        "pgflow_yaml.testing.plugin",
    ]


def test_what_keeps_cases_from_being_played_is_one_sentence(shell: Shell) -> None:
    """A wrong setting: said without a traceback, and nothing fails in putting away what is not."""
    shell.write("greeting.test.yaml", GOOD)
    shell.write("pyproject.toml", '[tool.pgflow-yaml]\nnotify = "perhaps"\n')

    said = pytest_in(shell, "-q", expect=1)

    assert '"perhaps" is neither on nor off' in said
    assert "1 passed, 2 errors" in said
    assert "Traceback" not in said
    assert "pgflow_yaml/" not in said
    assert "AttributeError" not in said
