"""Run tests beside each other; what fails there, once more alone.

A test that fails for want of a processor passes alone: it is named as unsteady, as it is to be
mended. One that fails again, or with many others, has found a fault.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

PYTEST = (sys.executable, "-m", "pytest", "-q")
BESIDE = ("-n", "3", "--cache-clear")  # forget what failed in other runs
ALONE = ("-n", "0", "--last-failed", "--last-failed-no-failures", "none")
FAILED = Path(".pytest_cache/v/cache/lastfailed")
MOST = 5


def run(arguments: Sequence[str], **variables: str) -> int:
    """Run these tests with these variables set; return the exit code of pytest."""
    env = {**os.environ, **variables}
    code = subprocess.run([*PYTEST, *BESIDE, *arguments], env=env, check=False).returncode
    if code != pytest.ExitCode.TESTS_FAILED:
        return code
    failed = _failed()
    if len(failed) > MOST:
        _say(f"{len(failed)} tests failed; no more than {MOST} are run again")
        return code
    _say(f"{_tests(failed)} failed beside others: once more, alone")
    code = subprocess.run([*PYTEST, *ALONE, *arguments], env=env, check=False).returncode
    unsteady = failed - _failed()
    for name in sorted(unsteady):
        _say(f"UNSTEADY {name}")
    if unsteady:
        _say(f"{_tests(unsteady)} passed alone after a failure beside others: to be mended")
    return code


def _failed() -> set[str]:
    """Return the tests that failed when they were last run."""
    return set(json.loads(FAILED.read_text(encoding="utf-8"))) if FAILED.exists() else set()


def _tests(names: set[str]) -> str:
    return f"{len(names)} test{'' if len(names) == 1 else 's'}"


def _say(words: str) -> None:
    sys.stdout.write(f"tests.run: {words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
