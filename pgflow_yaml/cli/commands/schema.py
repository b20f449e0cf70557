"""Write: print the JSON Schema of flow files, for editors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.failures import BAD
from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Sequence


@command("schema", example="pgflow-yaml schema -o schemas/workflow.schema.json")
@click.argument("paths", metavar="[FILE or FOLDER...]", nargs=-1, type=click.Path())
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write it to a file."
)
@click.option("--tests", is_flag=True, help="The schema of test files.")
@click.option("--check", is_flag=True, help="Check that the project's schema files are current.")
@pass_options
def schema_command(
    options: Options, *, paths: Sequence[str], output: Path | None, tests: bool, check: bool
) -> int:
    """Print the JSON Schema of flow files, for editors.

    `init` writes it into a new project; this brings an older project up to date. With --check it
    prints nothing new: it compares the schema files below the current folder, or those given, with
    this release, and finds comments that name a schema file that is not there.
    """
    import json

    from pgflow_yaml.cli.output import write_file, write_json
    from pgflow_yaml.project import files

    if check:
        if output or tests:
            raise click.UsageError("--check writes nothing: leave out --output and --tests")
        return _check(options, paths or ["."])
    if paths:
        raise click.UsageError("files are named with --check only; --output names one to write")
    text = files.schema_text("test" if tests else "workflow")
    if output is None:
        if options.json:
            write_json(json.loads(text))
        else:
            sys.stdout.write(text)
        return 0
    write_file(output, text)
    if options.json:
        write_json({"written": str(output)})
    else:
        options.note(f"wrote {output}")
    return 0


def _check(options: Options, paths: Sequence[str]) -> int:
    """Compare the schema files with this release; the exit code."""
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.project import schema_files
    from pgflow_yaml.text import clean

    found = schema_files.check(paths)
    problems = {file: problem for file, problem in found.items() if problem is not None}
    if options.json:
        checked = [{"file": file, "problem": problem} for file, problem in found.items()]
        write_json({"checked": checked})
    else:
        lines = [f"{file}: {problem}" for file, problem in problems.items()]
        sys.stdout.write(clean("".join(f"{line}\n" for line in lines)))
        if not problems:
            options.note("the schema files are those of this release")
    return BAD if problems else 0
