"""Write: write an example flow with handlers and tests."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pgflow_yaml.cli.options import Options, command, pass_options

TEMPLATES = ("hello", "etl", "approval", "saga", "alert")


@command("init", example="pgflow-yaml init my_flows")
@click.argument(
    "folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False)
)
@click.option(
    "--template",
    type=click.Choice(TEMPLATES),
    default="hello",
    show_default=True,
    help="Subject of the example.",
)
@click.option(
    "--jetbrains", is_flag=True, help="Refer to the schema as JetBrains editors expect it."
)
@pass_options
def init_command(options: Options, *, folder: Path, template: str, jetbrains: bool) -> None:
    """Write an example flow with its handlers and tests; existing files are kept."""
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.project import example
    from pgflow_yaml.text import clean

    written, kept = example.write(folder, template, jetbrains=jetbrains)
    if options.json:
        write_json({"folder": str(folder), "written": written, "kept": kept})
        return
    lines = [f"wrote {folder / name}" for name in written]
    lines += [f"kept  {folder / name} (it was there already)" for name in kept]
    if not written:
        lines = ["everything is there already: nothing was written"]
    if "pyproject.toml" in kept and not example.has_settings(folder):
        lines.append('hint: handlers of other packages: [tool.pgflow-yaml] allow = ["shop"]')
    lines += ["", "next:"]
    lines += [f"  cd {_quoted(folder)}"] if folder != Path() else []
    lines += [f"  pgflow-yaml {words}" for words in example.NEXT[template]]
    sys.stdout.write(clean("\n".join(lines)) + "\n")


def _quoted(path: Path) -> str:
    from shlex import quote

    return quote(str(path))
