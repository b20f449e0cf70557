"""How long `validate` takes in a fresh process, the interpreter's start included."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def seconds(path: Path) -> float:
    """Run the command on a file and return the processor time it needed, the best of three.

    The command has one thread, so on an idle machine that is the time one waits; on a busy one,
    where other tests run beside it, the wall clock says nothing about the command.
    """
    best = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "pgflow_yaml", "validate", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best, used)
        assert done.returncode == 0, done.stdout + done.stderr
    return best


def a_file(folder: Path, *, steps: int) -> Path:
    """Write a chain of steps that use templates, conditions and retries."""
    lines = ["flow: many", "input:", "  n: {type: integer, default: 1}", "steps:"]
    for number in range(steps):
        lines += [
            f"  s{number}:",
            f"    handler: app.tasks.f{number}",
            "    retry: {max_attempts: 5, base_delay: 2s}",
            "    timeout: 30s",
        ]
        if number:
            lines += [
                f"    depends_on: [s{number - 1}]",
                f"    if: input.n > 0 and steps.s{number - 1}.output.value in [1, 2, 3]",
                f"    with: {{value: '${{{{ steps.s{number - 1}.output.value }}}}', other: [1]}}",
            ]
    path = folder / "many.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_thousand_steps_are_validated_in_half_a_second(tmp_path: Path) -> None:
    """A large file is checked while one waits for the prompt; three times the figure is allowed."""
    assert seconds(a_file(tmp_path, steps=1000)) < 3 * 0.5


def test_ten_steps_are_validated_in_a_fifth_of_a_second(tmp_path: Path) -> None:
    """An ordinary file is checked before one notices; three times the figure is allowed."""
    assert seconds(a_file(tmp_path, steps=10)) < 3 * 0.2
