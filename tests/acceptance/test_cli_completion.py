"""What the shell is told when somebody presses Tab."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.database import embedded
from tests.acceptance.shell import COMMAND, Shell
from tests.fixtures.roles import as_program
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path


def offered(words: str, folder: Path, **env: str) -> list[str]:
    """The values for the last of some words."""
    typed = ["pgflow-yaml", *shlex.split(words)] + ([""] if words.endswith(" ") else [])
    done = subprocess.run(
        [sys.executable, str(COMMAND)],
        env={
            "_PGFLOW_YAML_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(typed),
            "COMP_CWORD": str(len(typed) - 1),
            **env,
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


def test_flows_runs_steps_and_queues_come_from_the_database(database: str, tmp_path: Path) -> None:
    """Where a command takes one, also as the value of an option."""
    shell = Shell(tmp_path, database)
    shell.write("order.yaml", "flow: order\nsteps: {reserve: {handler: a.b, queue: slow}}\n")
    shell("compile", "order.yaml")
    run = shell("start", "order", "--key", "order-7").out.strip()

    def completed(words: str) -> list[str]:
        # Within its time on this machine, which may have other things to do.
        env = {"DATABASE_URL": as_program(database, "show")}
        return eventually(lambda: offered(words, tmp_path, **env), what=words) or []

    assert completed("start o") == ["plain,order"]
    assert completed("runs --flow or") == ["plain,order"]
    assert completed(f"show {run[:4]}") == [f"plain,{run[:8]}"]
    assert completed("cancel ord") == ["plain,order-7"]
    assert completed("show last --step r") == ["plain,reserve"]
    assert completed(f"approve {run} ") == ["plain,reserve"]
    assert completed("worker --queue s") == ["plain,slow"]


def test_without_a_database_nothing_is_offered_and_nothing_is_said(tmp_path: Path) -> None:
    """No server, none that answers, and an embedded one that rests: it is not started."""
    assert offered("show ", tmp_path, DATABASE_URL="postgresql://x@localhost:1/x") == []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        begun = time.monotonic()
        assert offered("show ", tmp_path, DATABASE_URL=f"postgresql://x@127.0.0.1:{port}/x") == []
        assert time.monotonic() - begun < 9  # libpq alone would wait for ten

    (tmp_path / "pyproject.toml").touch()
    env = {"HOME": str(tmp_path), "XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]}
    assert offered("show ", tmp_path, **env) == []
    assert not (tmp_path / ".pgflow").exists()


def test_a_running_embedded_database_is_asked(tmp_path: Path) -> None:
    """While another command holds it."""
    (tmp_path / "pyproject.toml").touch()
    shell = Shell(tmp_path)
    shell.write("order.yaml", "flow: order\nsteps: {reserve: {handler: a.b}}\n")
    env = {"HOME": os.environ["HOME"], "XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]}
    with embedded.open_server(tmp_path):
        shell("compile", "order.yaml")
        eventually(lambda: offered("start ", tmp_path, **env) == ["plain,order"])
    embedded.discard(tmp_path)
    assert offered("start ", tmp_path, **env) == []


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_the_script_is_printed_or_installed(kind: str, tmp_path: Path) -> None:
    """Once; what else is in the start file stays."""
    shell = Shell(tmp_path, env={"HOME": str(tmp_path), "XDG_DATA_HOME": "", "ZDOTDIR": ""})
    start_file = tmp_path / f".{kind}rc"
    start_file.write_text("alias p=pgflow-yaml")

    script = shell("completion", kind).out
    first = shell("completion", kind, "--install").out
    second = shell("completion", kind, "--install").out

    assert "_PGFLOW_YAML_COMPLETE" in script
    files = [line.removeprefix("wrote ") for line in first.splitlines()]
    assert (tmp_path / files[0]).read_text() == script
    if kind == "fish":
        assert files == [str(tmp_path / ".config/fish/completions/pgflow-yaml.fish")]
        return
    assert files == [
        str(tmp_path / f".local/share/pgflow-yaml/completion.{kind}"),
        str(start_file),
    ]
    assert second.splitlines() == [f"wrote {files[0]}"]
    assert start_file.read_text() == (
        f"alias p=pgflow-yaml\n. {files[0]}  # completion of pgflow-yaml\n"
    )


def test_bash_reads_the_installed_script(tmp_path: Path) -> None:
    """A new shell completes the command."""
    shell = Shell(tmp_path, env={"HOME": str(tmp_path)})
    shell("completion", "bash", "--install")

    done = subprocess.run(
        ["bash", "-c", '. "$HOME/.bashrc" && complete -p pgflow-yaml'],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "_pgflow_yaml_completion" in done.stdout
    assert shell("completion", "tcsh", expect=2).err.startswith("pgflow-yaml: ")
