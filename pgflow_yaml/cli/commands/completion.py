"""Write: print or install the completion of a shell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = ("bash", "zsh", "fish")


@command("completion", example="pgflow-yaml completion bash")
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--install", is_flag=True, help="Install it for this user, for new shells.")
@pass_options
def completion_command(options: Options, *, shell: str, install: bool) -> None:
    """Print the script that completes commands, options, files, and names from the database.

    Flows, runs, steps and queues are read from the database if it answers within 150 ms; an
    embedded database that does not run is not started.

    With --install the script becomes a file in the folder of the user's data, and a line at the end
    of ~/.bashrc or ~/.zshrc reads it; fish finds its file by itself.
    """
    from pgflow_yaml.cli.output import write_json

    script = _script(shell)
    if not install:
        write_json({"script": script}) if options.json else sys.stdout.write(script)
        return
    written = _install(shell, script)
    if options.json:
        write_json({"written": [str(file) for file in written]})
        return
    for file in written:
        sys.stdout.write(f"wrote {file}\n")
    options.note(f"open a new {shell}, and press Tab after `pgflow-yaml show `")


def _script(shell: str) -> str:
    from click.shell_completion import get_completion_class

    from pgflow_yaml.cli.app import app

    kind = get_completion_class(shell)
    assert kind is not None
    return kind(app, {}, "pgflow-yaml", "_PGFLOW_YAML_COMPLETE").source().rstrip("\n") + "\n"


def _install(shell: str, script: str) -> list[Path]:
    """Write the script, and the line that reads it unless it is there; return the changed files."""
    from shlex import quote

    from pgflow_yaml.cli.output import write_file

    if shell == "fish":
        file = _folder("XDG_CONFIG_HOME", ".config") / "fish/completions/pgflow-yaml.fish"
        write_file(file, script)
        return [file]
    file = _folder("XDG_DATA_HOME", ".local/share") / f"pgflow-yaml/completion.{shell}"
    write_file(file, script)
    start_file = _start_file(shell)
    text = start_file.read_text(encoding="utf-8") if start_file.exists() else ""
    line = f". {quote(str(file))}  # completion of pgflow-yaml\n"
    if line in text:
        return [file]
    with start_file.open("a", encoding="utf-8") as target:
        target.write(line if text.endswith("\n") or not text else f"\n{line}")
    return [file, start_file]


def _folder(variable: str, below_home: str) -> Path:
    import os
    from pathlib import Path

    return Path(os.environ.get(variable) or Path.home() / below_home)


def _start_file(shell: str) -> Path:
    import os
    from pathlib import Path

    if shell == "zsh":
        return Path(os.environ.get("ZDOTDIR") or Path.home()) / ".zshrc"
    return Path.home() / ".bashrc"
