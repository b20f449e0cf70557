"""The public face: what `import pgflow_yaml` gives, and what it costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import pgflow_yaml


@pytest.mark.parametrize("name", pgflow_yaml.__all__)
def test_a_public_name_is_there_and_described(name: str) -> None:
    """Each name of `__all__` can be imported, has a docstring, and so have its public methods."""
    found = getattr(pgflow_yaml, name)

    assert inspect.getdoc(found)
    if inspect.isclass(found):
        undescribed = [
            member
            for member, value in vars(found).items()
            if callable(value) and not member.startswith("_") and not inspect.getdoc(value)
        ]
        assert undescribed == []


@pytest.mark.parametrize("name", pgflow_yaml.__all__)
def test_a_public_exception_is_ours(name: str) -> None:
    """Public exceptions have one root, and their docstring is the message by default."""
    found = getattr(pgflow_yaml, name)
    if inspect.isclass(found) and issubclass(found, Exception):
        assert issubclass(found, pgflow_yaml.PgflowError)


def test_the_list_of_names_is_complete() -> None:
    """`dir` and `__all__` agree, in alphabetical order; other names are errors."""
    assert dir(pgflow_yaml) == sorted(pgflow_yaml.__all__) == pgflow_yaml.__all__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = pgflow_yaml.nothing


def test_importing_the_package_imports_no_dependency() -> None:
    """Driver, YAML and validator are imported when something needs them (§5)."""
    code = "import sys, pgflow_yaml; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert not loaded & {"psycopg", "yaml", "jsonschema", "rich", "click", "asyncio", "logging"}


def test_running_the_module_does_not_put_the_current_folder_first(tmp_path: object) -> None:
    """`python -m pgflow_yaml` beside a hostile `click.py` uses the installed one (S-9)."""
    hostile = f"{tmp_path}/click.py"
    with open(hostile, "w", encoding="utf-8") as file:  # noqa: PTH123 (a text)
        file.write("raise SystemExit('hostile')\n")

    done = subprocess.run(
        [sys.executable, "-m", "pgflow_yaml", "--version"],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
