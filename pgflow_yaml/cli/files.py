"""Commands that read or write flow files: `init`, `validate`, `compile`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .failures import BAD
from .options import Options, command, import_options, pass_options

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    from .words import clean

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
    sys.stdout.write(clean("\n".join(lines)) + "\n")


def _quoted(path: Path) -> str:
    from shlex import quote

    return quote(str(path))


@command("validate", example="pgflow-yaml validate hello.flow.yaml --import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--format", "form", type=click.Choice(("text", "github", "json")), help="How to tell."
)
@click.option("--import", "import_", is_flag=True, help="Import the handlers, too.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@import_options
@pass_options
def validate_command(
    options: Options,
    *,
    files: Sequence[str],
    form: str | None,
    import_: bool,
    strict: bool,
    app_dir: Path | None,
    allow: Sequence[str],
) -> int:
    """Check flow files and show every mistake with its place."""
    from . import findings
    from .loading import load, with_handlers, worker_settings
    from .output import write_json
    from .words import one_line, plural

    loaded = load(files)
    if import_ or app_dir or allow:
        places = worker_settings(app_dir=app_dir, allow=allow)
        loaded = [with_handlers(each, places) for each in loaded]
    bad = any(each.errors or (strict and each.diagnostics) for each in loaded)
    if options.json or form == "json":
        write_json({"files": [findings.shape(each) for each in loaded]})
    elif form == "github" or (form is None and findings.in_github()):
        findings.write_github(loaded, sys.stdout)
    elif any(each.diagnostics for each in loaded):
        findings.write_text(loaded, options)
    if not bad and form is None and not options.json and not options.quiet:
        for each in loaded:
            if each.definition:
                steps = plural(len(each.definition.order), "step")
                sys.stdout.write(f"{one_line(each.file)}: {each.definition.name}, {steps}, valid\n")
    return BAD if bad else 0


@command("compile", example="pgflow-yaml compile hello.flow.yaml")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Say what would change, change nothing.")
@click.option("--no-activate", is_flag=True, help="Store the version, leave the active one.")
@pass_options
def compile_command(
    options: Options, *, files: Sequence[str], dry_run: bool, no_activate: bool
) -> None:
    """Check flow files and make their versions the active ones.

    A file that did not change is left alone. Nothing is stored unless all files are valid.
    """
    from .database import connected
    from .deploying import deploy, foresee, require_valid, said
    from .loading import load
    from .output import write_json

    definitions = require_valid(load(files), options)
    with connected(options) as store:
        results = [
            foresee(store, each, activate=not no_activate)
            if dry_run
            else deploy(store, each, activate=not no_activate)
            for each in definitions
        ]
    if options.json:
        write_json(results)
        return
    for result in results:
        sys.stdout.write(f"{'would be ' * dry_run}{said(result)}\n")
