"""The README's commands, typed as they stand into a shell, and what they then say."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.docs.fenced import ROOT, blocks

if TYPE_CHECKING:
    from tests.fixtures.worker_process import StartCli

README = ROOT / "README.md"
SHELL = [block.text for block in blocks("sh", [README])]
BIN = Path(sys.executable).parent
EXAMPLE_URL = "postgresql://app@db.example.org/app"


def the_block_with(words: str) -> str:
    """The one block of the README that has these words."""
    found = [text for text in SHELL if words in text]
    assert len(found) == 1, words
    return found[0]


def typed(script: str, folder: Path, *, home: Path) -> subprocess.CompletedProcess[str]:
    """Type lines into a shell that stops at the first error."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "DATABASE_URL"))}
    return subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=folder,
        env=clean | {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


def test_the_two_commands_are_targets() -> None:
    """Every `make` line of the README is one that make accepts."""
    lines = re.findall(r"^make (\w+)", "\n".join(SHELL), re.MULTILINE)

    assert lines[:2] == ["demo", "test"]
    for target in lines:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_hello_works_as_typed(tmp_path: Path) -> None:
    """The hello ends as completed, with the output that one expects of it."""
    hello = the_block_with("flow: hello")

    done = typed(f"{hello}\npgflow-yaml show last --json", tmp_path, home=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"HELLO, ADA!"' in done.stdout
    assert (tmp_path / "hello" / "hello.yaml").is_file()


def test_the_hello_flow_has_ten_lines() -> None:
    """The first file that one reads is short."""
    flow = the_block_with("flow: hello").partition("hello.yaml <<'END'\n")[2].partition("END")[0]

    assert len(flow.splitlines()) == 10


def test_your_own_postgresql_works_as_typed(empty_database: str, tmp_path: Path) -> None:
    """With the address of a real database, the lines install the tables and run a flow."""
    script = the_block_with("pgflow-yaml migrate").replace(EXAMPLE_URL, f"'{empty_database}'")

    done = typed(script + "\npgflow-yaml show last --json", ROOT, home=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert (shown["run"]["flow"], shown["run"]["status"]) == ("diamond", "completed")


def test_a_second_worker_works_as_typed(database: str, start_cli: StartCli) -> None:
    """The line starts a worker that says so and ends cleanly when it is told to."""
    lines = the_block_with("pgflow-yaml worker").splitlines()
    command = next(line for line in lines if line.startswith("pgflow-yaml"))

    worker = start_cli(*command.split()[1:], dsn=database)
    worker.wait_for("worker")
    worker.send(signal.SIGTERM)

    assert worker.wait(seconds=20) == 0
