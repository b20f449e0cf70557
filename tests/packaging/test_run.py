"""`python -m tests.run`, which `make test` runs: what happens to tests that fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BESIDE = '"PYTEST_XDIST_WORKER" in os.environ'


@pytest.mark.parametrize(
    ("failing", "code", "said"),
    [
        ({BESIDE: 1}, 0, ["1 test failed", "UNSTEADY test_it.py::test_it[0]", "1 test passed"]),
        ({BESIDE: 1, "True": 1}, 1, ["2 tests failed", "UNSTEADY test_it.py::test_it[0]"]),
        ({BESIDE: 6}, 1, ["6 tests failed; no more than 5 are run again"]),
    ],
)
def test_what_fails_beside_others_runs_once_more_alone(
    tmp_path: Path, failing: dict[str, int], code: int, said: list[str]
) -> None:
    """It is named when it passes then; one that fails again, or with many, fails the run."""
    conditions = [condition for condition, times in failing.items() for _ in range(times)]
    (tmp_path / "test_it.py").write_text(
        "import os, pytest\n"
        f"@pytest.mark.parametrize('number', range({len(conditions)}))\n"
        f"def test_it(number): assert not [{', '.join(conditions)}][number]\n"
        "def test_good(): pass\n"
    )
    ours = ("PYTEST", "PGFLOW_YAML")  # of the run that this test is a part of
    env = {key: text for key, text in os.environ.items() if not key.startswith(ours)}

    done = subprocess.run(
        [sys.executable, "-m", "tests.run", "-p", "xdist.plugin"],
        cwd=tmp_path,
        env={**env, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert done.returncode == code, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("tests.run: ")]
    assert all(any(words in line for line in lines) for words in said), lines
    assert len([line for line in lines if "UNSTEADY" in line]) == (code == 0 or "True" in failing)
