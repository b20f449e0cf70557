"""Deploy: check flow files and make their versions the active ones."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Sequence


@command("compile", example="pgflow-yaml compile hello.flow.yaml")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--dry-run", is_flag=True, help="Say what would change, change nothing.")
@click.option("--no-activate", is_flag=True, help="Store the version, leave the active one.")
@pass_options
def compile_command(
    options: Options, *, files: Sequence[str], dry_run: bool, no_activate: bool
) -> None:
    """Check flow files and make their versions the active ones.

    A file that did not change is left alone. Nothing is stored unless all files are valid.
    """
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.flow_files.deploying import (
        children_first,
        deploy,
        foresee,
        require_children,
        require_valid,
        said,
    )
    from pgflow_yaml.cli.flow_files.loading import load
    from pgflow_yaml.cli.output import write_json

    loaded = load(files)
    require_valid(loaded, options)
    with connected(options) as store:
        require_children(loaded, store)
        found = {
            file: foresee(store, definition, activate=not no_activate)
            if dry_run
            else deploy(store, definition, file=file, activate=not no_activate)
            for file, definition in children_first(loaded)
        }
    results = [found[file] for file in files]
    if options.json:
        write_json(results)
        return
    for result in results:
        sys.stdout.write(f"{'would be ' * dry_run}{said(result)}\n")
