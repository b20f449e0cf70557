"""What the shell is told when somebody presses Tab."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import COMMAND

if TYPE_CHECKING:
    from pathlib import Path


def offered(words: str, folder: Path) -> list[str]:
    """The values for the last of some words."""
    typed = ["pgflow-yaml", *shlex.split(words)] + ([""] if words.endswith(" ") else [])
    done = subprocess.run(
        [sys.executable, str(COMMAND)],
        env={
            "_PGFLOW_YAML_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(typed),
            "COMP_CWORD": str(len(typed) - 1),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("gr", ["plain,graph"]),
        ("pla", ["plain,plan"]),
        ("graph --format s", ["plain,svg"]),
        ("explain pf20", [f"plain,PF20{number}" for number in range(1, 10)]),
        ("diff --ag", ["plain,--against"]),
        ("diff ", ["file,"]),
        ("plan or", ["file,or"]),
        ("graph ", ["file,"]),
    ],
)
def test_commands_options_files_and_codes_are_completed(
    tmp_path: Path, words: str, values: list[str]
) -> None:
    """`file` tells the shell to complete names itself."""
    assert offered(words, tmp_path) == values
