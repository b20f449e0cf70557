"""The installed command as a person uses it: a folder, a line, what came out."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fixtures import forks
from tests.fixtures.roles import as_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COMMAND = forks.COMMAND
# Variables that change what the command does; and it is compiled, as users have it.
OURS = (
    "PG",
    "DATABASE_URL",
    "GITHUB_ACTIONS",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "LINES",
    "STY",
    "TMUX",
    "XTERM_VERSION",
    "PYTHONDONTWRITEBYTECODE",
)


def resuming(said: str) -> list[str]:
    """The words of the command that a text names for continuing a run."""
    command = said.partition("run is kept: ")[2].splitlines()[0].partition(", or ")[0]
    name, *words = shlex.split(command)
    assert name == "pgflow-yaml"
    return words


@dataclass(frozen=True, slots=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as one JSON document."""
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs `pgflow-yaml` in a folder, with a database named in the environment."""

    folder: Path
    database: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    def environment(self, command: str = "run") -> dict[str, str]:
        """The environment of the command: ours without what would change its behaviour."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        named = {"DATABASE_URL": as_program(self.database, command)} if self.database else {}
        return {**kept, **named, **self.env}

    def __call__(self, *args: str, expect: int = 0, stdin: str | None = None) -> Result:
        """Run it to its end; another exit code than the expected one fails with all output."""
        env = self.environment(*args[:1])
        if stdin is None:
            result = Result(*forks.run(args, cwd=self.folder, env=env, seconds=50))
        else:
            done = subprocess.run(
                [str(COMMAND), *args],
                cwd=self.folder,
                env=env,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=50,
                check=False,
            )
            result = Result(done.returncode, done.stdout, done.stderr)
        assert result.code == expect, (
            f"exit {result.code}\n{result.out[-3000:]}\n{result.err[-3000:]}"
        )
        return result

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start it and return at once."""
        return subprocess.Popen(
            [str(COMMAND), *args],
            cwd=self.folder,
            env=self.environment(*args[:1]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path
