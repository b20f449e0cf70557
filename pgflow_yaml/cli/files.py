"""Commands that read or write flow files: `init`, `validate`, `compile`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .options import Options, command, pass_options


@command("init", example="pgflow-yaml init my_flows")
@click.argument(
    "folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False)
)
@click.option("--jetbrains", is_flag=True, help="Name the schema as JetBrains' editors want it.")
@pass_options
def init_command(options: Options, *, folder: Path, jetbrains: bool) -> None:
    """Write an example flow with its handlers; overwrites nothing."""
    from . import beginning
    from .output import write_json

    written, kept = beginning.write(folder, jetbrains=jetbrains)
    if options.json:
        write_json({"folder": str(folder), "written": written, "kept": kept})
        return
    lines = [f"wrote {folder / name}" for name in written]
    lines += [f"kept  {folder / name} (it was there already)" for name in kept]
    if "pyproject.toml" in kept:
        lines.append('hint: handlers of other packages: [tool.pgflow-yaml] allow = ["shop"]')
    lines += ["", "next:"]
    lines += [f"  cd {_quoted(folder)}"] if folder != Path() else []
    lines += [f"  pgflow-yaml {words}" for words in beginning.NEXT]
    sys.stdout.write("\n".join(lines) + "\n")


def _quoted(path: Path) -> str:
    from shlex import quote

    return quote(str(path))
